//! Signals: the first ends a run in good order, the second at once; SIGHUP reloads.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use anyhow::Context as _;
use portcullis::activation::Control;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::failure::{Exit, Failure, OrExit, warn};
use crate::reorder_buffer::ReorderBuffer;
use crate::stop::Stop;

/// What a signal is to reach: nothing yet while rules are loaded.
#[derive(Clone, Default)]
pub(crate) struct Interruption {
    flag: Arc<AtomicBool>,
    /// A hangup came while there was nothing yet that it could reach.
    hangup: Arc<AtomicBool>,
    target: Arc<OnceLock<Target>>,
}

/// What signals reach.
struct Target {
    buffer: Arc<ReorderBuffer>,
    stop: Arc<Stop>,
    /// Where rules come out of files.
    control: Option<Control>,
}

impl Interruption {
    /// Listens from now on. On Ctrl-C or a termination signal no more is read, what has been read is judged, everything is
    /// written out, and the account printed. SIGHUP has rules out of files and the config read again; where there are none, it
    /// is a termination signal.
    pub(crate) fn listen() -> Result<Self, Failure> {
        let interruption = Self::default();
        let signals = Signals::new([SIGINT, SIGTERM, SIGHUP]).context("cannot listen for Ctrl-C").or_exit(Exit::Io)?;
        let listening = interruption.clone();
        std::thread::spawn(move || listening.wait_for(signals));
        Ok(interruption)
    }

    /// What signals reach from now on.
    pub(crate) fn reaches(&self, buffer: &Arc<ReorderBuffer>, stop: &Arc<Stop>, control: Option<Control>) {
        let target = self.target.get_or_init(|| Target { buffer: Arc::clone(buffer), stop: Arc::clone(stop), control });
        if self.hangup.load(Ordering::Relaxed) {
            if let Some(control) = &target.control {
                control.reload();
            } else {
                self.flag.store(true, Ordering::Relaxed);
                stop.set();
            }
        }
    }

    fn wait_for(&self, mut signals: Signals) {
        let ends = |signal: i32| match self.target.get() {
            Some(Target { control: Some(control), .. }) if signal == SIGHUP => {
                control.reload();
                false
            }
            None if signal == SIGHUP => {
                self.hangup.store(true, Ordering::Relaxed);
                false
            }
            _ => true,
        };
        if signals.forever().any(ends) {
            self.flag.store(true, Ordering::Relaxed);
            match self.target.get() {
                Some(target) => end(target, &mut signals),
                None => std::process::exit(Exit::Interrupted as i32),
            }
        }
    }

    pub(crate) fn is_set(&self) -> bool {
        self.flag.load(Ordering::Relaxed)
    }
}

/// Has the run end with the account, after all that has been read; or ends the process.
fn end(target: &Target, signals: &mut Signals) {
    target.stop.set();
    // Neither a record whose alert nobody takes off our hands, nor a person who asks again, is to wait for ever.
    if !target.buffer.comes_to_an_end(&mut || signals.pending().any(|signal| signal != SIGHUP)) {
        warn(
            "stopped in the middle of a record, which takes too long: there is no account, and the ledger may lack its end",
        );
        std::process::exit(Exit::Interrupted as i32);
    }
}

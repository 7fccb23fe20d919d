//! Signals: the first ends a run after everything read is judged, the second ends it at once. SIGHUP reloads.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use anyhow::Context as _;
use portcullis::activation::Control;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::failure::{Exit, Failure, OrExit, warn};
use crate::reorder_buffer::{NotEnded, ReorderBuffer};
use crate::stop::Stop;

/// The signals of a run. While rules are loaded there is no target yet.
#[derive(Clone, Default)]
pub(crate) struct Interruption {
    flag: Arc<AtomicBool>,
    /// Whether a SIGHUP came before there was a target.
    hangup: Arc<AtomicBool>,
    target: Arc<OnceLock<Target>>,
}

/// The target of signals.
struct Target {
    buffer: Arc<ReorderBuffer>,
    stop: Arc<Stop>,
    /// `None` if no rules come from files.
    control: Option<Control>,
}

impl Interruption {
    /// Starts to listen. On Ctrl-C or a termination signal, no more is read; what was read is judged and written, and
    /// the account is printed. SIGHUP reads rules from files and the config again. Without rules from files, it
    /// terminates.
    pub(crate) fn listen() -> Result<Self, Failure> {
        let interruption = Self::default();
        let signals = Signals::new([SIGINT, SIGTERM, SIGHUP]).context("cannot listen for signals").or_exit(Exit::Io)?;
        let listening = interruption.clone();
        std::thread::spawn(move || listening.wait_for(signals));
        Ok(interruption)
    }

    /// Sets the target of signals, and passes on a SIGHUP that came before.
    pub(crate) fn set_target(&self, buffer: &Arc<ReorderBuffer>, stop: &Arc<Stop>, control: Option<Control>) {
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

/// Stops the reading and waits for the run to end. If that takes too long, or a second signal comes, ends the process.
fn end(target: &Target, signals: &mut Signals) {
    let is_end = |signal: i32| signal != SIGHUP;
    target.stop.set();
    // An alert that no reader takes must not block for ever.
    let waited = target.buffer.wait_for_end(&mut || signals.pending().any(is_end));
    if waited.is_ok() {
        // The last entries of the history may still take seconds.
        signals.forever().find(|signal| is_end(*signal));
    }
    let why = match waited {
        Err(NotEnded::Hangs) => "stopped in the middle of a record, which takes too long",
        Ok(()) | Err(NotEnded::Interrupted) => "a second signal ended the run at once",
    };
    warn(format_args!("warning: {why}; the summary is missing, and the ledger and the history may be incomplete"));
    std::process::exit(Exit::Interrupted as i32);
}

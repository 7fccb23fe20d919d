//! A rule's running instance, behind its limits.

mod answer;

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use wasmtime::{Store, Trap, UpdateDeadline};

use crate::engine::TICK;
pub use crate::guest::Fault;
use crate::guest::bindings::Detection;
pub use crate::guest::bindings::exports::portcullis::detection::rule::{Alert as Answer, Severity as AnswerSeverity};
use crate::guest::{Limiter, State};
use crate::limits::Limits;
use crate::package::Package;
pub(crate) use answer::{checked, json_length};

/// One rule, ready to judge events one after the other. The calling thread runs it, whatever its own stack: where that
/// is too short for the rule's, the call is given another.
pub struct Sandbox {
    package: Package,
    limits: Limits,
    instance: Option<Instance>,
}

struct Instance {
    store: Store<State>,
    detection: Detection,
    left: u32,
}

/// What the host needs of the stack beside a rule, in bytes: with room for copying an answer and for a backtrace.
const HOST_STACK: usize = 512 << 10;

impl Sandbox {
    /// A sandbox for a package. The first event starts the instance.
    #[must_use]
    pub fn new(package: Package, limits: Limits) -> Self {
        Self { package, limits, instance: None }
    }

    /// The rule's answer on an event, given as a normalized event's JSON.
    ///
    /// # Errors
    /// The rule faulted.
    pub fn evaluate(&mut self, event_json: &str) -> Result<Option<Answer>, Fault> {
        // A rule that reached the end of the thread's stack before that of its own would end the process.
        let needed = self.package.stack() + HOST_STACK;
        stacker::maybe_grow(needed, needed, || self.evaluate_here(event_json))
    }

    /// Drops the instance; the next event starts another.
    pub(crate) fn reset(&mut self) {
        self.instance = None;
    }

    fn evaluate_here(&mut self, event_json: &str) -> Result<Option<Answer>, Fault> {
        // Taken out, and put back only after an answer: after an error an instance is of no use.
        let time = self.limits.time_for(event_json.len());
        let mut instance = match self.instance.take() {
            Some(mut instance) => {
                instance.store.data_mut().limiter = Limiter::new(&self.limits, event_json.len());
                arm(&mut instance.store, time);
                instance
            }
            // Its start is part of what the event may take.
            None => self.start(event_json.len(), time).map_err(|error| self.fault(time, &error))?,
        };
        let answer = instance
            .detection
            .portcullis_detection_rule()
            .call_evaluate(&mut instance.store, event_json)
            .map_err(|error| self.fault(time, &error))?;
        instance.left -= 1;
        if instance.left > 0 && !instance.store.data().limiter.is_large() {
            self.instance = Some(instance);
        }
        Ok(answer)
    }

    fn fault(&self, time: Duration, error: &wasmtime::Error) -> Fault {
        Fault::of(error, time, self.limits.answer)
    }

    fn start(&self, event_length: usize, time: Duration) -> wasmtime::Result<Instance> {
        let pre = self.package.component();
        let mut store = Store::new(
            pre.engine(),
            State { limiter: Limiter::new(&self.limits, event_length), time, expired_at: None },
        );
        store.limiter(|state| &mut state.limiter);
        store.set_hostcall_fuel(self.limits.answer);
        store.epoch_deadline_callback(move |mut store| {
            // The deadline itself is of wall time. Once it is reached, the thread's own clock decides.
            let now = thread_cpu_time();
            let state = store.data_mut();
            let used = now.saturating_sub(*state.expired_at.get_or_insert(now));
            if used < state.time { Ok(UpdateDeadline::Continue(1)) } else { Err(Trap::Interrupt.into()) }
        });
        arm(&mut store, time);
        let detection = pre.instantiate(&mut store)?;
        Ok(Instance { store, detection, left: self.limits.events_per_instance.max(1) })
    }
}

/// Gives the rule its time; a store whose deadline is not set anew traps at once.
fn arm(store: &mut Store<State>, time: Duration) {
    let state = store.data_mut();
    state.time = time;
    state.expired_at = None;
    let ticks = time.as_nanos().div_ceil(TICK.as_nanos()).max(1);
    store.set_epoch_deadline(u64::try_from(ticks).unwrap_or(u64::MAX / 2));
}

fn thread_cpu_time() -> Duration {
    Duration::try_from(clock_gettime(ClockId::ThreadCPUTime)).unwrap_or_default()
}

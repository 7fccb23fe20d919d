//! Runs the instance of a rule within its limits.

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
pub(crate) use answer::checked;
pub use answer::json_length;

/// One rule that evaluates events one after the other, on the calling thread. If the thread's stack is too small for
/// the rule, the call uses another stack.
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

/// Stack that the host needs in addition to a rule's, in bytes, including copying an answer and taking a backtrace.
const HOST_STACK: usize = 512 << 10;

impl Sandbox {
    /// Returns a sandbox for a package. The first event starts an instance.
    #[must_use]
    pub fn new(package: Package, limits: Limits) -> Self {
        Self { package, limits, instance: None }
    }

    /// Returns the rule's answer for the JSON of a normalized event.
    ///
    /// # Errors
    /// The rule faulted.
    pub fn evaluate(&mut self, event_json: &str) -> Result<Option<Answer>, Fault> {
        // If a rule reached the end of the thread's stack before its own limit, the process would abort.
        let needed = self.package.stack() + HOST_STACK;
        stacker::maybe_grow(needed, needed, || self.evaluate_here(event_json))
    }

    /// Drops the instance; the next event starts a new one.
    pub(crate) fn reset(&mut self) {
        self.instance = None;
    }

    fn evaluate_here(&mut self, event_json: &str) -> Result<Option<Answer>, Fault> {
        // The instance is put back only after an answer, because it is unusable after an error.
        let time = self.limits.time_for(event_json.len());
        let mut instance = match self.instance.take() {
            Some(mut instance) => {
                instance.store.data_mut().limiter = Limiter::new(&self.limits, event_json.len());
                arm(&mut instance.store, time);
                instance
            }
            // Starting the instance counts towards the event's limits.
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
            // The deadline is in wall time. When it is reached, the CPU time of the thread decides.
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

/// Gives the rule its time for the next call. Without a new deadline, a store traps immediately.
fn arm(store: &mut Store<State>, time: Duration) {
    let state = store.data_mut();
    state.time = time;
    state.expired_at = None;
    let ticks = time.as_nanos().div_ceil(TICK.as_nanos()).max(1);
    store.set_epoch_deadline(u64::try_from(ticks).unwrap_or(u64::MAX / 2));
}

/// Returns the CPU time of the current thread.
pub(crate) fn thread_cpu_time() -> Duration {
    Duration::try_from(clock_gettime(ClockId::ThreadCPUTime)).unwrap_or_default()
}

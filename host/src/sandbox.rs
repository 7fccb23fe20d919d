//! A rule's running instance, behind its limits.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use thiserror::Error;
use wasmtime::{Store, StoreLimits, StoreLimitsBuilder, Trap, UpdateDeadline, WasmBacktrace};

use crate::Package;
use crate::engine::TICK;
use bindings::Detection;
pub use bindings::exports::portcullis::detection::rule::{Alert as Answer, Severity as AnswerSeverity};

/// What wasmtime makes of `wit/detection.wit`.
#[expect(missing_docs, reason = "the generator documents only what the WIT does")]
pub(crate) mod bindings {
    wasmtime::component::bindgen!({ path: "../wit", world: "detection" });
}

/// What one rule may take. A rule that wants more has a [`Fault`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Time for one event, and as much again for every [`Limits::EVENT_UNIT`] of its JSON: a large event is no way to
    /// make a rule fault. In CPU time of the thread, so that a busy machine is none either. A rule is stopped after
    /// between one and two times as much.
    pub time: Duration,
    /// Memory in bytes, and four times the length of an event more.
    pub memory: usize,
    /// Elements of each of two tables.
    pub table_elements: usize,
    /// Bytes that are copied out of the sandbox for one event: all texts of an alert.
    pub answer: usize,
    /// Events that one instance sees before a fresh one takes its place, so that no rule carries anything further.
    pub batch: u32,
}

impl Limits {
    /// How many bytes of an event give a rule its time once more.
    pub const EVENT_UNIT: usize = 256 << 10;

    /// What a rule may take for an event of this length.
    fn time_for(&self, event_length: usize) -> Duration {
        let units = 1 + event_length / Self::EVENT_UNIT;
        self.time.saturating_mul(u32::try_from(units).unwrap_or(u32::MAX))
    }

    fn store_limits_for(&self, event_length: usize) -> StoreLimits {
        StoreLimitsBuilder::new()
            .memory_size(self.memory.saturating_add(event_length.saturating_mul(4)))
            .memories(1)
            .tables(2)
            .table_elements(self.table_elements)
            .instances(8)
            .trap_on_grow_failure(true)
            .build()
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self { time: Duration::from_millis(10), memory: 16 << 20, table_elements: 10_000, answer: 64 << 10, batch: 256 }
    }
}

/// What a rule did instead of answering. Its instance is gone; the next event gets a fresh one.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Fault {
    /// It ran longer than [`Limits::time`].
    #[error("ran longer than its limit of {0:?}")]
    Time(Duration),
    /// It used its stack up.
    #[error("used its stack up")]
    Stack,
    /// It trapped, wanted more memory than its limit, or broke the rules of the component model.
    #[error("{0}")]
    Trap(String),
    /// Its answer is no alert.
    #[error("{0}")]
    Answer(String),
}

/// One rule, ready to judge events one after the other. The calling thread runs it, and needs a stack of at least 2 MiB:
/// on one with less, deep recursion in a rule ends the process.
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

pub(crate) struct State {
    limits: StoreLimits,
    /// What this call may take.
    time: Duration,
    /// The thread's CPU time when the deadline was first reached in this call.
    expired_at: Option<Duration>,
}

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
        // Taken out, and put back only after an answer: after an error an instance is of no use.
        let mut instance = match self.instance.take() {
            Some(instance) => instance,
            None => self.start().map_err(|error| fault(self.limits.time, &error))?,
        };
        let time = self.limits.time_for(event_json.len());
        instance.store.data_mut().limits = self.limits.store_limits_for(event_json.len());
        arm(&mut instance.store, time);
        let answer = instance
            .detection
            .portcullis_detection_rule()
            .call_evaluate(&mut instance.store, event_json)
            .map_err(|error| fault(time, &error))?;
        instance.left -= 1;
        if instance.left > 0 {
            self.instance = Some(instance);
        }
        Ok(answer)
    }

    fn start(&self) -> wasmtime::Result<Instance> {
        let pre = self.package.component();
        let limits = self.limits.store_limits_for(0);
        let mut store = Store::new(pre.engine(), State { limits, time: self.limits.time, expired_at: None });
        store.limiter(|state| &mut state.limits);
        store.set_hostcall_fuel(self.limits.answer);
        store.epoch_deadline_callback(move |mut store| {
            // The deadline itself is of wall time. Once it is reached, the thread's own clock decides.
            let now = thread_cpu_time();
            let state = store.data_mut();
            let used = now.saturating_sub(*state.expired_at.get_or_insert(now));
            if used < state.time { Ok(UpdateDeadline::Continue(1)) } else { Err(Trap::Interrupt.into()) }
        });
        arm(&mut store, self.limits.time);
        let detection = pre.instantiate(&mut store)?;
        Ok(Instance { store, detection, left: self.limits.batch.max(1) })
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

fn fault(time: Duration, error: &wasmtime::Error) -> Fault {
    match error.downcast_ref::<Trap>() {
        Some(Trap::Interrupt) => Fault::Time(time),
        Some(Trap::StackOverflow) => Fault::Stack,
        _ => Fault::Trap(format!("{}{}", error.root_cause(), place(error))),
    }
}

fn thread_cpu_time() -> Duration {
    Duration::try_from(clock_gettime(ClockId::ThreadCPUTime)).unwrap_or_default()
}

/// Where in the rule it happened: the innermost functions that have names.
fn place(error: &wasmtime::Error) -> String {
    let Some(backtrace) = error.downcast_ref::<WasmBacktrace>() else {
        return String::new();
    };
    let functions: Vec<String> = backtrace
        .frames()
        .iter()
        .filter_map(|frame| frame.func_name())
        .map(|name| format!("{:#}", rustc_demangle::demangle(name)))
        .take(3)
        .collect();
    if functions.is_empty() { String::new() } else { format!(", in {}", functions.join(", called by ")) }
}

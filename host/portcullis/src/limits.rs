//! What a rule may take, and what a package may be.

use std::time::Duration;

use crate::engine::Engine;

/// What one rule of one tenant may take. A rule that wants more has a [`Fault`](crate::sandbox::Fault).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Time for one event, and as much again for every [`Limits::EVENT_UNIT`] of its JSON: a large event is no way to
    /// make a rule fault. In CPU time of the thread, so that a busy machine is none either. A rule is stopped after
    /// between one and two times as much.
    pub time: Duration,
    /// Memory in bytes, and for an event twelve times its length more; an instance that has taken of that ends with the event.
    pub memory: usize,
    /// Elements of each of two tables.
    pub table_elements: usize,
    /// Bytes that are copied out of the sandbox for one event: all texts of an answer.
    pub answer: usize,
    /// Bytes of an alert's title, dedup and context as JSON.
    pub alert: usize,
    /// Alerts in one minute of event time. A match beyond them is a fault, and its record is kept with the others that
    /// are wrong.
    pub alerts_per_minute: u32,
    /// Events that one instance is asked about, at the most, before a fresh one takes its place, so that no rule carries
    /// anything further.
    pub events_per_instance: u32,
    /// Faults until the rule is suspended; 0 is never. [`Limits::FORGIVEN_AFTER`] answers make up for one.
    pub suspend_after: u32,
}

impl Limits {
    /// How many bytes of an event give a rule its time once more.
    pub const EVENT_UNIT: usize = 256 << 10;

    /// How many answers make up for a fault: so seldom, a fault that takes its whole time costs others next to nothing.
    pub const FORGIVEN_AFTER: u32 = 1000;

    /// On how many of the first events that a new version is asked about a fault of its own rolls it back.
    pub const PROBATION: u32 = 1000;

    /// What a rule may take for an event of this length.
    pub(crate) fn time_for(&self, event_length: usize) -> Duration {
        let units = 1 + event_length / Self::EVENT_UNIT;
        self.time.saturating_mul(u32::try_from(units).unwrap_or(u32::MAX))
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            time: Duration::from_millis(10),
            memory: 16 << 20,
            table_elements: 10_000,
            answer: 64 << 10,
            alert: 256 << 10,
            alerts_per_minute: 100_000,
            events_per_instance: 256,
            suspend_after: 10,
        }
    }
}

/// What a package may be before anything in it is compiled, and what compiling it may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PackageLimits {
    /// Bytes of the file.
    pub size: usize,
    /// Functions, of all core modules together.
    pub functions: u32,
    /// Bytes of one function.
    pub function_size: usize,
    /// Local variables of one function.
    pub locals: u32,
    /// CPU time of the process that compiles it, in whole seconds.
    pub compile_seconds: u64,
    /// Address space of that process, in bytes.
    pub compile_memory: u64,
}

impl Default for PackageLimits {
    fn default() -> Self {
        Self {
            size: 1 << 20,
            functions: 5000,
            function_size: 64 << 10,
            locals: 1000,
            compile_seconds: 10,
            compile_memory: 1 << 30,
        }
    }
}

impl PackageLimits {
    /// The longest spec in bytes: its runbook and reference go into every alert.
    pub const SPEC: usize = 256 << 10;

    /// The longest manifest in bytes.
    pub const MANIFEST: usize = 64 << 10;

    /// The longest signature in bytes.
    pub const SIGNATURE: usize = 4 << 10;

    /// Types, imports and exports, of all parts of a component together: the real rules have some 60.
    pub(crate) const ITEMS: u32 = 10_000;

    /// Core modules in a component, components in it, and instances of each: what multiplies when it is compiled. The
    /// real rules have two, one, and four.
    pub(crate) const PARTS: u32 = 16;

    /// Parameters, and results, of one function.
    pub(crate) const PARAMETERS: u32 = 100;
}

/// All limits of one tenant: for its rules, and for its packages.
#[derive(Clone, Copy, Debug)]
pub struct TenantLimits {
    /// Limits for each call of a rule.
    pub limits: Limits,
    /// The depth of a rule's stack, in bytes.
    pub stack: usize,
    /// Limits for a package.
    pub package: PackageLimits,
}

impl Default for TenantLimits {
    fn default() -> Self {
        Self { limits: Limits::default(), stack: Engine::STACK, package: PackageLimits::default() }
    }
}

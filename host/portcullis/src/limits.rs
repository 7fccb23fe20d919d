//! Limits for rules and packages.

use std::time::Duration;

use crate::engine::Engine;

/// Limits for one rule of one tenant. A rule that exceeds one has a [`Fault`](crate::sandbox::Fault).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Limits {
    /// CPU time of the thread for one event, and the same again for every [`Limits::EVENT_UNIT`] of its JSON. So
    /// neither a large event nor a busy machine makes a rule fault. A rule is stopped after one to two times this
    /// limit.
    pub time: Duration,
    /// Memory in bytes. Each event adds twelve times its length; an instance that has used this addition is dropped
    /// after the event.
    pub memory: usize,
    /// Elements of each table; a rule can have two tables.
    pub table_elements: usize,
    /// Bytes that are copied out of the sandbox for one event: all texts of an answer.
    pub answer: usize,
    /// Bytes of an alert's title, dedup and context as JSON.
    pub alert: usize,
    /// Alerts for one minute of event time. A match beyond this limit is a fault, and its record is written to the
    /// rejects.
    pub alerts_per_minute: u32,
    /// Events that one instance evaluates before a fresh one replaces it, so that no rule keeps state for longer.
    pub events_per_instance: u32,
    /// Faults until the rule is suspended; 0 means never. [`Limits::FORGIVEN_AFTER`] answers cancel one fault.
    pub suspend_after: u32,
}

impl Limits {
    /// Bytes of an event for each of which a rule gets its time once more.
    /// On a slow machine that has much to do, a rule with the first SDK takes 120 ms for the worst of 3 MB, all of it
    /// brackets.
    pub const EVENT_UNIT: usize = 128 << 10;

    /// Answers that cancel one fault. At this rate, faults that use the whole time limit cost other rules almost
    /// nothing.
    pub const FORGIVEN_AFTER: u32 = 1000;

    /// Calls of a new version during which a fault of its own rolls it back.
    pub const PROBATION: u32 = 1000;

    /// Returns the CPU time that a rule may use for an event of this length.
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

/// Limits for a package: for its contents, before anything is compiled, and for compiling it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PackageLimits {
    /// Bytes of the file.
    pub size: usize,
    /// Functions of all core modules together.
    pub functions: u32,
    /// Bytes of one function.
    pub function_size: usize,
    /// Local variables of one function.
    pub locals: u32,
    /// CPU time of the compiling process, in whole seconds.
    pub compile_seconds: u64,
    /// Address space of the compiling process, in bytes.
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
    /// Bytes of a spec, whose runbook and reference are part of every alert.
    pub const SPEC: usize = 256 << 10;

    /// Bytes of a manifest.
    pub const MANIFEST: usize = 64 << 10;

    /// Bytes of a signature.
    pub const SIGNATURE: usize = 4 << 10;

    /// Packages in the files and folders of one tenant: all versions of all rules. Half of them can be published.
    pub const PACKAGES: usize = 2_000;

    /// Bytes of these packages together, of which half can be published.
    pub const PACKAGES_SIZE: u64 = 512 << 20;

    /// Types, imports and exports of all parts of a component together. The embedded rules have about 60.
    pub(crate) const ITEMS: u32 = 10_000;

    /// Core modules in a component, components in it, and instances of each: these multiply during compilation. The
    /// embedded rules have two, one, and four.
    pub(crate) const PARTS: u32 = 16;

    /// Parameters or results of one function.
    pub(crate) const PARAMETERS: u32 = 100;
}

/// All limits of one tenant.
#[derive(Clone, Copy, Debug)]
pub struct TenantLimits {
    /// Limits for each call of a rule.
    pub limits: Limits,
    /// Limit for a rule's stack, in bytes.
    pub stack: usize,
    /// Limits for each package.
    pub package: PackageLimits,
}

impl Default for TenantLimits {
    fn default() -> Self {
        Self { limits: Limits::default(), stack: Engine::STACK, package: PackageLimits::default() }
    }
}

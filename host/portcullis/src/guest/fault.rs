//! Faults of rules.

use std::time::Duration;

use thiserror::Error;
use wasmtime::{Trap, WasmBacktrace};

/// Limit for the name of a function in a fault, in bytes. Names come from untrusted code and can be as long as the
/// package.
const LONGEST_NAME: usize = 120;

/// A rule's failure to answer. The instance is dropped; the next event gets a fresh one.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Fault {
    /// It ran longer than [`Limits::time`](crate::limits::Limits::time).
    #[error("ran longer than its limit of {0:?}")]
    Time(Duration),
    /// It used up its stack.
    #[error("used up its stack")]
    Stack,
    /// It needed more memory than its limit.
    #[error("requested {wanted} bytes of memory, more than its limit of {limit}")]
    Memory {
        /// Bytes that it needed.
        wanted: usize,
        /// Its limit.
        limit: usize,
    },
    /// It needed a longer table than its limit.
    #[error("requested a table of {wanted} elements, more than its limit of {limit}")]
    Table {
        /// Elements that it needed.
        wanted: usize,
        /// Its limit.
        limit: usize,
    },
    /// It trapped, or violated the component model.
    #[error("{0}")]
    Trap(String),
    /// Its answer is not a valid alert.
    #[error("{0}")]
    Answer(String),
    /// It matched, after [`Limits::alerts_per_minute`](crate::limits::Limits::alerts_per_minute) alerts in the same
    /// minute.
    #[error("matched beyond its limit of {0} alerts in the event's minute")]
    Alerts(u32),
    /// It matched, after the tenant's alerts had this many bytes since
    /// [`Judge::limit_alerts`](crate::Judge::limit_alerts).
    #[error(
        "matched when its tenant's alerts had the {0} bytes that a batch, or what waits for a sink, leaves for them"
    )]
    AlertBytes(usize),
    /// It was not called: [`Limits::suspend_after`](crate::limits::Limits::suspend_after) faults have suspended it, for
    /// at most this number of further events.
    #[error("is suspended because of its faults, for at most {0} more events")]
    Suspended(u64),
}

impl Fault {
    /// Returns the name of its kind; there are nine.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Time(_) => "time",
            Self::Stack => "stack",
            Self::Memory { .. } => "memory",
            Self::Table { .. } => "table",
            Self::Trap(_) => "trap",
            Self::Answer(_) => "answer",
            Self::Alerts(_) => "alerts",
            Self::AlertBytes(_) => "alert-bytes",
            Self::Suspended(_) => "suspended",
        }
    }

    /// Returns the fault for an engine error, of a rule with these limits for time and for bytes copied out.
    pub(crate) fn of(error: &wasmtime::Error, time: Duration, answer: usize) -> Self {
        if let Some(fault) = error.downcast_ref::<Self>() {
            return fault.clone();
        }
        match error.downcast_ref::<Trap>() {
            Some(Trap::Interrupt) => Self::Time(time),
            Some(Trap::StackOverflow) => Self::Stack,
            _ => {
                let cause = error.root_cause().to_string();
                // The engine has no error type for this.
                if cause.starts_with("too much data is being copied") {
                    return Self::Answer(format!("answered with more than its limit of {answer} bytes"));
                }
                let cause = cause.strip_prefix("wasm trap: ").unwrap_or(&cause);
                Self::Trap(format!("trapped: {cause}{}", place(error)))
            }
        }
    }
}

/// Returns the innermost functions that have names, as the location of an error.
fn place(error: &wasmtime::Error) -> String {
    let Some(backtrace) = error.downcast_ref::<WasmBacktrace>() else {
        return String::new();
    };
    let functions: Vec<String> =
        backtrace.frames().iter().filter_map(|frame| frame.func_name()).take(3).map(short_name).collect();
    if functions.is_empty() { String::new() } else { format!(", in {}", functions.join(", called by ")) }
}

/// Returns a demangled function name. A name that is too long is cut and stays mangled.
fn short_name(name: &str) -> String {
    // In the v0 mangling scheme, a demangled name can double in length with every few bytes.
    let may_double = name.starts_with("_R") && name.len() > LONGEST_NAME;
    if name.len() <= 4 * LONGEST_NAME && !may_double {
        let name = format!("{:#}", rustc_demangle::demangle(name));
        if name.len() <= LONGEST_NAME {
            return name;
        }
    }
    name.chars().take(LONGEST_NAME).chain("…".chars()).collect()
}

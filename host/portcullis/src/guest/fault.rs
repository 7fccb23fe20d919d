//! What went wrong in a rule.

use std::time::Duration;

use thiserror::Error;
use wasmtime::{Trap, WasmBacktrace};

/// The longest name of a function in a fault, in bytes: names are a stranger's, and can be as long as the package.
const LONGEST_NAME: usize = 120;

/// What a rule did instead of answering. Its instance is gone; the next event gets a fresh one.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Fault {
    /// It ran longer than [`Limits::time`](crate::limits::Limits::time).
    #[error("ran longer than its limit of {0:?}")]
    Time(Duration),
    /// It used its stack up.
    #[error("used its stack up")]
    Stack,
    /// It wanted more memory than its limit.
    #[error("wanted {wanted} bytes of memory, more than its limit of {limit}")]
    Memory {
        /// How much.
        wanted: usize,
        /// How much it may have.
        limit: usize,
    },
    /// It wanted a longer table than its limit.
    #[error("wanted a table of {wanted} elements, more than its limit of {limit}")]
    Table {
        /// How many elements.
        wanted: usize,
        /// How many it may have.
        limit: usize,
    },
    /// It trapped, or broke the rules of the component model.
    #[error("{0}")]
    Trap(String),
    /// Its answer is no alert.
    #[error("{0}")]
    Answer(String),
    /// It matched, after [`Limits::alerts_per_minute`](crate::limits::Limits::alerts_per_minute) alerts in the same minute.
    #[error("matched after its limit of {0} alerts in the event's minute")]
    Alerts(u32),
    /// It was not asked: [`Limits::suspend_after`](crate::limits::Limits::suspend_after) faults have suspended it, for at most so many events more.
    #[error("is suspended for its faults, for at most {0} events more")]
    Suspended(u64),
}

impl Fault {
    /// The word for its kind, of which there are eight.
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
            Self::Suspended(_) => "suspended",
        }
    }

    /// What the engine's error says of a rule with these limits of time and of bytes copied out.
    pub(crate) fn of(error: &wasmtime::Error, time: Duration, answer: usize) -> Self {
        if let Some(fault) = error.downcast_ref::<Self>() {
            return fault.clone();
        }
        match error.downcast_ref::<Trap>() {
            Some(Trap::Interrupt) => Self::Time(time),
            Some(Trap::StackOverflow) => Self::Stack,
            _ => {
                let cause = error.root_cause().to_string();
                // The engine has no type for it.
                if cause.starts_with("too much data is being copied") {
                    return Self::Answer(format!("answered with more than its limit of {answer} bytes"));
                }
                let cause = cause.strip_prefix("wasm trap: ").unwrap_or(&cause);
                Self::Trap(format!("trapped: {cause}{}", place(error)))
            }
        }
    }
}

/// Where in the rule it happened: the innermost functions that have names.
fn place(error: &wasmtime::Error) -> String {
    let Some(backtrace) = error.downcast_ref::<WasmBacktrace>() else {
        return String::new();
    };
    let functions: Vec<String> =
        backtrace.frames().iter().filter_map(|frame| frame.func_name()).take(3).map(short_name).collect();
    if functions.is_empty() { String::new() } else { format!(", in {}", functions.join(", called by ")) }
}

/// A function's name as a person writes it. One too long to be anybody's is cut, and not made sense of.
fn short_name(name: &str) -> String {
    // Of the newer mangling, names can double what they say with every few bytes.
    let may_double = name.starts_with("_R") && name.len() > LONGEST_NAME;
    if name.len() <= 4 * LONGEST_NAME && !may_double {
        let name = format!("{:#}", rustc_demangle::demangle(name));
        if name.len() <= LONGEST_NAME {
            return name;
        }
    }
    name.chars().take(LONGEST_NAME).chain("…".chars()).collect()
}

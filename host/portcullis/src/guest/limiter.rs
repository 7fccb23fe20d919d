//! Limits a rule's memory and tables.

use wasmtime::ResourceLimiter;

use super::fault::Fault;
use crate::limits::Limits;

/// Decides whether a memory or a table may be created or grow. Exceeding a limit is a fault and not a failed growth
/// that the rule could handle, because a rule that lacks memory cannot give a correct verdict.
pub(crate) struct Limiter {
    /// Limit for an event of any length, in bytes.
    usual_memory: usize,
    /// Limit for the current event, in bytes.
    memory: usize,
    table_elements: usize,
    is_large: bool,
}

impl Limiter {
    /// Returns the limiter for an event of this length. A rule's memory grows with the event, whose length the client
    /// chooses. A package may have an SDK that keeps the positions of all brackets and members, which take up to eight
    /// times the length.
    pub(crate) fn new(limits: &Limits, event_length: usize) -> Self {
        let memory = limits.memory.saturating_add(event_length.saturating_mul(12));
        Self { usual_memory: limits.memory, memory, table_elements: limits.table_elements, is_large: false }
    }

    /// Returns whether a large event has made the memory larger than the usual limit.
    pub(crate) fn is_large(&self) -> bool {
        self.is_large
    }
}

impl ResourceLimiter for Limiter {
    fn memory_growing(&mut self, _: usize, wanted: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        if wanted > self.memory {
            return Err(Fault::Memory { wanted, limit: self.memory }.into());
        }
        self.is_large |= wanted > self.usual_memory;
        Ok(true)
    }

    fn memory_grow_failed(&mut self, error: wasmtime::Error) -> wasmtime::Result<()> {
        Err(error)
    }

    fn table_growing(&mut self, _: usize, wanted: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        if wanted > self.table_elements {
            return Err(Fault::Table { wanted, limit: self.table_elements }.into());
        }
        Ok(true)
    }

    fn table_grow_failed(&mut self, error: wasmtime::Error) -> wasmtime::Result<()> {
        Err(error)
    }

    fn instances(&self) -> usize {
        8
    }

    fn tables(&self) -> usize {
        2
    }

    fn memories(&self) -> usize {
        1
    }
}

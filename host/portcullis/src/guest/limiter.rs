//! What a rule may hold: memory and tables.

use wasmtime::ResourceLimiter;

use super::fault::Fault;
use crate::limits::Limits;

/// Asked by the engine before a memory or a table is made or grows. What it refuses is a fault, not a failed growth that
/// the rule could go on from: a rule that is short of memory has no verdict.
pub(crate) struct Limiter {
    /// Memory that it may have for any event.
    usual_memory: usize,
    /// Memory that it may have for the event in hand.
    memory: usize,
    table_elements: usize,
    is_large: bool,
}

impl Limiter {
    /// For an event of this length: what a rule needs grows with it, and the client chooses it. Where each bracket of an event
    /// is, and where each member begins, takes a rule eight times its length at most.
    pub(crate) fn new(limits: &Limits, event_length: usize) -> Self {
        let memory = limits.memory.saturating_add(event_length.saturating_mul(12));
        Self { usual_memory: limits.memory, memory, table_elements: limits.table_elements, is_large: false }
    }

    /// Whether a large event has made it larger than a rule may be between events.
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

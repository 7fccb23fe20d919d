//! What a rule may hold: memory and tables.

use wasmtime::ResourceLimiter;

use crate::{Fault, Limits};

/// Asked by the engine before a memory or a table is made or grows. What it refuses is a fault, not a failed growth that
/// the rule could go on from: a rule that is short of memory has no verdict.
pub(super) struct Limiter {
    memory: usize,
    table_elements: usize,
}

impl Limiter {
    /// For an event of this length: what a rule needs grows with it, and the client chooses it.
    pub(super) fn new(limits: &Limits, event_length: usize) -> Self {
        let memory = limits.memory.saturating_add(event_length.saturating_mul(4));
        Self { memory, table_elements: limits.table_elements }
    }
}

impl ResourceLimiter for Limiter {
    fn memory_growing(&mut self, _: usize, wanted: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        if wanted > self.memory {
            return Err(Fault::Memory { wanted, limit: self.memory }.into());
        }
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

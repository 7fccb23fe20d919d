//! The rule sets of all tenants as they are published.

use std::sync::Arc;

use super::{RuleSet, RuleSetCell};

/// The current rule sets of all tenants, by tenant.
pub type RuleSets = Arc<[Arc<RuleSet>]>;

/// Follows the cells of all tenants. If a reader takes the rule sets once for each batch, all threads switch versions
/// between the same two records.
pub struct RuleSetWatch {
    cells: Vec<Arc<RuleSetCell>>,
    seen: Vec<u64>,
    current: RuleSets,
}

impl RuleSetWatch {
    /// Returns a watch of these cells, by tenant.
    #[must_use]
    pub fn new(cells: Vec<Arc<RuleSetCell>>) -> Self {
        Self { seen: vec![0; cells.len()], cells, current: Arc::default() }
    }

    /// Returns the rule sets that are published now.
    pub fn current(&mut self) -> RuleSets {
        let newer: Vec<Option<Arc<RuleSet>>> =
            self.cells.iter().zip(&mut self.seen).map(|(cell, seen)| cell.newer(seen)).collect();
        if newer.iter().any(Option::is_some) {
            let before = |tenant: usize| Arc::clone(&self.current[tenant]);
            let rules = newer.into_iter().enumerate().map(|(tenant, newer)| newer.unwrap_or_else(|| before(tenant)));
            self.current = rules.collect();
        }
        Arc::clone(&self.current)
    }
}

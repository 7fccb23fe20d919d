//! Builds judges.

use std::sync::Arc;

use jiff::Timestamp;
pub use portcullis_alert::DEFAULT_TENANT;

use super::judge::{Fixed, Judge};
use crate::enrich::Enrichment;
use crate::exclusion::Exclusion;
use crate::limits::Limits;
use crate::rule_set::{RuleSet, RuleSetCell};

/// Builds a [`Judge`]. The order of the calls does not matter.
#[must_use]
pub struct JudgeBuilder {
    cell: Arc<RuleSetCell>,
    limits: Limits,
    fixed: Fixed,
}

impl Judge {
    /// Returns a judge with these rules and limits, for the tenant [`DEFAULT_TENANT`]. Rules start their instances with
    /// the first event for which they are called.
    #[must_use]
    pub fn new(rules: Arc<RuleSet>, limits: Limits) -> Self {
        Self::builder(limits).rules(rules).build()
    }

    /// Returns a builder of a judge with these limits. By default, the judge has no rules, the tenant
    /// [`DEFAULT_TENANT`], no enrichment and no exclusions.
    pub fn builder(limits: Limits) -> JudgeBuilder {
        JudgeBuilder {
            cell: Arc::new(RuleSetCell::new(Arc::default())),
            limits,
            fixed: Fixed {
                tenant: DEFAULT_TENANT.into(),
                exclusions: Arc::default(),
                shared: Arc::default(),
                prefilters: true,
                enrichment: Arc::default(),
                clock: Timestamp::now,
            },
        }
    }
}

impl JudgeBuilder {
    /// Sets fixed rules.
    pub fn rules(self, rules: Arc<RuleSet>) -> Self {
        self.following(Arc::new(RuleSetCell::new(rules)))
    }

    /// Sets the cell that rule sets are published in. The judge uses the latest one.
    pub fn following(self, cell: Arc<RuleSetCell>) -> Self {
        Self { cell, ..self }
    }

    /// Sets the tenant whose records are judged.
    pub fn tenant(mut self, tenant: Arc<str>) -> Self {
        self.fixed.tenant = tenant;
        self
    }

    /// Sets the enrichment that looks up the networks of source addresses, for events for which a rule is called.
    pub fn enrichment(mut self, enrichment: Arc<Enrichment>) -> Self {
        self.fixed.enrichment = enrichment;
        self
    }

    /// Sets the events for which a match is not an alert.
    pub fn exclusions(mut self, exclusions: &[Exclusion]) -> Self {
        self.fixed.exclusions = exclusions.into();
        self
    }

    /// Sets the clock for events without a time. The default is the system's clock.
    pub fn clock(mut self, clock: fn() -> Timestamp) -> Self {
        self.fixed.clock = clock;
        self
    }

    /// Calls every rule for every event of its log types, to check that prefilters exclude no match.
    pub fn without_prefilters(mut self) -> Self {
        self.fixed.prefilters = false;
        self
    }

    /// Returns the judge.
    #[must_use]
    pub fn build(self) -> Judge {
        Judge::assemble(self.cell, self.limits, self.fixed)
    }
}

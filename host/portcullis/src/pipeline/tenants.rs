//! Judges the records of several tenants in one process.

use std::sync::Arc;

use portcullis_event::Outcome;

use crate::pipeline::claims::{Claim, Claims, Unclaimed};
use crate::pipeline::{Accounting, Judge, Judgement};

/// Judges each record with the rules of the tenant that it belongs to. Tenants share nothing that one of them could use
/// up: each has its own instances, suspensions and alert budgets.
pub struct Tenants {
    /// Absent if all records belong to the only tenant.
    claims: Option<Arc<Claims>>,
    all: Vec<(Judge, Accounting)>,
    /// The account of records that do not belong to exactly one tenant.
    unclaimed: Accounting,
}

/// A record's judgement, and its tenant.
#[derive(Debug)]
pub struct Judged {
    /// The tenant's index in [`Tenants::all`]; `None` if the record does not belong to exactly one.
    pub tenant: Option<usize>,
    /// The judgement.
    pub judgement: Judgement,
}

impl Tenants {
    /// Returns one tenant that all records belong to.
    #[must_use]
    pub fn one(judge: Judge) -> Self {
        Self { claims: None, ..Self::new(vec![(judge, Vec::new())]) }
    }

    /// Returns these tenants, each with its claims. A record that one of the claims matches belongs to the tenant.
    #[must_use]
    pub fn new(tenants: Vec<(Judge, Vec<Claim>)>) -> Self {
        let (judges, claims): (Vec<Judge>, Vec<_>) = tenants.into_iter().unzip();
        let with_account = |judge: Judge| {
            let accounting = Accounting::new(judge.rules());
            (judge, accounting)
        };
        Self {
            claims: Some(Arc::new(Claims::new(claims))),
            all: judges.into_iter().map(with_account).collect(),
            unclaimed: Accounting::default(),
        }
    }

    /// Returns all tenants: each one's judge and account.
    #[must_use]
    pub fn all(&self) -> &[(Judge, Accounting)] {
        &self.all
    }

    /// Returns the tenants with new judges and accounts, for another thread.
    #[must_use]
    pub fn fork(&self) -> Self {
        let another = |(judge, _): &(Judge, Accounting)| {
            let accounting = Accounting::new(judge.rules());
            (judge.fork(), accounting)
        };
        Self {
            claims: self.claims.clone(),
            all: self.all.iter().map(another).collect(),
            unclaimed: Accounting::default(),
        }
    }

    /// Returns and resets the accounts: one for each tenant, and one for unclaimed records.
    pub fn take_accounts(&mut self) -> (Vec<Accounting>, Accounting) {
        let tenants = self.all.iter_mut().map(|(_, accounting)| std::mem::take(accounting)).collect();
        (tenants, std::mem::take(&mut self.unclaimed))
    }

    /// Returns a tenant's judge.
    ///
    /// # Panics
    /// There is no tenant with this index.
    pub fn judge(&mut self, tenant: usize) -> &mut Judge {
        &mut self.all[tenant].0
    }

    /// Returns the account of unclaimed records; `None` if there is only one tenant.
    #[must_use]
    pub fn unclaimed(&self) -> Option<&Accounting> {
        self.claims.as_ref().map(|_| &self.unclaimed)
    }

    /// Returns the index in [`Tenants::all`] of the tenant that a record belongs to. `input` is the name of the
    /// record's input.
    ///
    /// # Errors
    /// The record does not belong to exactly one tenant.
    pub fn owner(&self, record: &[u8], input: &str) -> Result<usize, Unclaimed> {
        let Some(claims) = &self.claims else { return Ok(0) };
        claims.owner(record, input).map_err(|several| {
            let names: Vec<&str> = several.iter().map(|number| self.all[*number].0.tenant()).collect();
            if names.is_empty() { Unclaimed::NoClaim } else { Unclaimed::Several(names.join(" and ")) }
        })
    }

    /// Judges a record of this tenant, without checking claims, and counts it.
    ///
    /// # Panics
    /// There is no tenant with this index.
    pub fn outcome_of(&mut self, tenant: usize, outcome: Outcome<'_>) -> Judged {
        let (judge, accounting) = &mut self.all[tenant];
        let judgement = judge.outcome(outcome);
        accounting.count(&judgement);
        Judged { tenant: Some(tenant), judgement }
    }

    /// Judges a record that is normalized already, and counts it. An event that does not belong to exactly one tenant
    /// is rejected.
    pub fn outcome(&mut self, outcome: Outcome<'_>, record: &[u8], input: &str) -> Judged {
        match self.owner(record, input) {
            Ok(tenant) => self.outcome_of(tenant, outcome),
            Err(unclaimed) => {
                let judgement = match outcome {
                    Outcome::Evaluated(_) => Judgement::Unclaimed(unclaimed),
                    Outcome::Ignored(ignored) => Judgement::Ignored(ignored),
                    Outcome::Rejected(rejected) => Judgement::Rejected(rejected),
                };
                self.unclaimed.count(&judgement);
                Judged { tenant: None, judgement }
            }
        }
    }
}

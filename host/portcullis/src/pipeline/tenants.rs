//! Several tenants in one process: to each its records, its rules, its account.

use std::sync::Arc;

use portcullis_event::Outcome;

use crate::pipeline::claims::{Claim, Claims, Unclaimed};
use crate::pipeline::{Accounting, Judge, Judgement};

/// Judges each record with the rules of the tenant whose it is, and of no other. Tenants share nothing that one of them
/// could use up: each has its own instances of its rules, its own suspensions, its own budget of alerts.
pub struct Tenants {
    /// Where there is but one, all records are its.
    claims: Option<Arc<Claims>>,
    all: Vec<(Judge, Accounting)>,
    /// Of records that are not one tenant's.
    unclaimed: Accounting,
}

/// What became of a record, and whose it is.
#[derive(Debug)]
pub struct Judged {
    /// The tenant, by its place in [`Tenants::all`]; of a record that is not one tenant's, none.
    pub tenant: Option<usize>,
    /// What became of it.
    pub judgement: Judgement,
}

impl Tenants {
    /// One tenant, whose all records are.
    #[must_use]
    pub fn one(judge: Judge) -> Self {
        Self { claims: None, ..Self::new(vec![(judge, Vec::new())]) }
    }

    /// These tenants, each with what its records are known by: any one of its claims.
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

    /// All of them: what each judges with, and its account.
    #[must_use]
    pub fn all(&self) -> &[(Judge, Accounting)] {
        &self.all
    }

    /// The same tenants, with judges and accounts for another thread.
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

    /// What has been counted since this was last asked, of each tenant and of what is nobody's.
    pub fn take_accounts(&mut self) -> (Vec<Accounting>, Accounting) {
        let tenants = self.all.iter_mut().map(|(_, accounting)| std::mem::take(accounting)).collect();
        (tenants, std::mem::take(&mut self.unclaimed))
    }

    /// What one of them judges with.
    ///
    /// # Panics
    /// There are not so many.
    pub fn judge(&mut self, tenant: usize) -> &mut Judge {
        &mut self.all[tenant].0
    }

    /// The account of the records that are not one tenant's; none where there is but one tenant.
    #[must_use]
    pub fn unclaimed(&self) -> Option<&Accounting> {
        self.claims.as_ref().map(|_| &self.unclaimed)
    }

    /// Whose a record is, by its place in [`Tenants::all`]; `input` is the name of what it was read from.
    ///
    /// # Errors
    /// It is not one tenant's.
    pub fn owner(&self, record: &[u8], input: &str) -> Result<usize, Unclaimed> {
        let Some(claims) = &self.claims else { return Ok(0) };
        claims.owner(record, input).map_err(|several| {
            let names: Vec<&str> = several.iter().map(|number| self.all[*number].0.tenant()).collect();
            if names.is_empty() { Unclaimed::NoClaim } else { Unclaimed::Several(names.join(" and ")) }
        })
    }

    /// Judges a record of a tenant, whatever the claims, and counts it.
    ///
    /// # Panics
    /// There are not so many.
    pub fn outcome_of(&mut self, tenant: usize, outcome: Outcome<'_>) -> Judged {
        let (judge, accounting) = &mut self.all[tenant];
        let judgement = judge.outcome(outcome);
        accounting.count(&judgement);
        Judged { tenant: Some(tenant), judgement }
    }

    /// Judges a record whose outcome is known, and counts it. One that would be evaluated and is not one tenant's is
    /// rejected.
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

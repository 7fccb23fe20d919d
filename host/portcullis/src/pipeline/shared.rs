//! State that all judges of one tenant share: the suspensions and alert budgets of rules.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use crate::limits::Limits;
use crate::package::Package;
use crate::pipeline::alert_budget::AlertBudget;
use crate::pipeline::suspension::Suspension;

/// Suspensions by version and alert budgets by rule. Each lives as long as a judge uses it.
#[derive(Default)]
pub(super) struct Shared(Mutex<Known>);

#[derive(Default)]
struct Known {
    suspensions: Vec<(Package, Weak<Mutex<Suspension>>)>,
    budgets: HashMap<String, Weak<Mutex<AlertBudget>>>,
}

impl Shared {
    /// Returns the suspension of a version of a rule.
    pub(super) fn suspension(&self, package: &Package, limits: &Limits) -> Arc<Mutex<Suspension>> {
        let suspensions = &mut locked(&self.0).suspensions;
        suspensions.retain(|(_, suspension)| suspension.strong_count() > 0);
        let known = suspensions.iter().find(|(known, _)| known == package).and_then(|(_, known)| known.upgrade());
        known.unwrap_or_else(|| {
            let suspension = Arc::new(Mutex::new(Suspension::new(limits.suspend_after)));
            suspensions.push((package.clone(), Arc::downgrade(&suspension)));
            suspension
        })
    }

    /// Returns the alert budget of a rule, for all versions.
    pub(super) fn budget(&self, package: &Package, limits: &Limits) -> Arc<Mutex<AlertBudget>> {
        let budgets = &mut locked(&self.0).budgets;
        let known = budgets.get(package.rule_id()).and_then(Weak::upgrade);
        known.unwrap_or_else(|| {
            let budget = Arc::new(Mutex::new(AlertBudget::new(limits.alerts_per_minute)));
            budgets.insert(package.rule_id().to_owned(), Arc::downgrade(&budget));
            budget
        })
    }
}

/// Locks a mutex. A panic leaves the value behind it valid.
pub(super) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

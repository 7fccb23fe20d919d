//! An HTTP endpoint that is down for hours, loses answers, and refuses some alerts.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use tokio::time::sleep;

use super::dice::Dice;
use crate::sinks::webhook::{Answer, Endpoint};

/// An endpoint, which the processes of one machine post to.
#[derive(Clone)]
pub(super) struct SimEndpoint {
    state: Arc<Mutex<State>>,
    at_once: usize,
}

struct State {
    dice: Dice,
    is_up: bool,
    is_lossy: bool,
    faults: u64,
    /// The number of times that each alert was taken, and of answers about it that were lost.
    taken: BTreeMap<String, (u64, u64)>,
}

impl SimEndpoint {
    pub(super) fn new(dice: Dice) -> Self {
        let at_once = 1 + dice.index(5);
        let state = State { dice, is_up: true, is_lossy: false, faults: 0, taken: BTreeMap::new() };
        Self { state: Arc::new(Mutex::new(state)), at_once }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn set_up(&self, is_up: bool) {
        self.lock().is_up = is_up;
    }

    pub(super) fn set_lossy(&self, is_lossy: bool) {
        self.lock().is_lossy = is_lossy;
    }

    pub(super) fn faults(&self) -> u64 {
        self.lock().faults
    }

    /// Returns how often each alert was taken, and how often it had reason to come again because an answer was lost.
    pub(super) fn taken(&self) -> BTreeMap<String, (u64, u64)> {
        self.lock().taken.clone()
    }

    async fn answer(&self, alerts: &[&str]) -> Answer {
        let (time, is_lost) = {
            let mut state = self.lock();
            let dice = state.dice.clone();
            let is_lost = state.is_lossy && dice.once_in(4);
            state.faults += u64::from(is_lost);
            (dice.up_to(Duration::from_millis(50)), is_lost)
        };
        sleep(time).await;
        let mut state = self.lock();
        if !state.is_up {
            let asked = state.dice.once_in(4).then(|| Duration::from_mins(2));
            return Answer::Retry("503".to_owned(), asked);
        }
        if alerts.iter().any(|alert| is_refused(alert)) {
            return Answer::Refused("400".to_owned());
        }
        for alert in alerts {
            let (taken, lost) = state.taken.entry(record_of(alert)).or_default();
            *taken += 1;
            *lost += u64::from(is_lost);
        }
        if is_lost { Answer::Retry("the answer is lost".to_owned(), None) } else { Answer::Taken }
    }
}

/// Returns whether the endpoint refuses an alert for good.
pub(super) fn is_refused(alert: &str) -> bool {
    alert.contains("refused")
}

/// Returns the record of an alert.
pub(super) fn record_of(alert: &str) -> String {
    let alert: serde_json::Value = serde_json::from_str(alert).expect("an alert is JSON");
    alert["record"].as_str().expect("it has a record").to_owned()
}

impl Endpoint for SimEndpoint {
    fn post<'a>(&'a self, alerts: &'a [&'a str]) -> BoxFuture<'a, Answer> {
        self.answer(alerts).boxed()
    }

    fn at_once(&self) -> usize {
        self.at_once
    }
}

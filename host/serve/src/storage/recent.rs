//! The ids of recent alerts, by which a repeated alert is recognized.

use std::collections::{HashSet, VecDeque};
use std::fmt;

use serde_json::Value;

/// The number of ids that are kept. An API server repeats a batch within minutes.
const KNOWN: usize = 1 << 18;

/// An alert's id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct AlertId(u128);

impl AlertId {
    /// Returns the id with these 32 hexadecimal digits.
    pub(crate) fn of(text: &str) -> Option<Self> {
        if text.len() != 32 {
            return None;
        }
        u128::from_str_radix(text, 16).ok().map(Self)
    }

    /// Returns the id of an alert or a finding.
    pub(crate) fn in_json(alert: &Value) -> Option<Self> {
        [&alert["alert_id"], &alert["finding_info"]["uid"]].into_iter().find_map(|id| Self::of(id.as_str()?))
    }
}

impl fmt::Display for AlertId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:032x}", self.0)
    }
}

/// The last ids.
#[derive(Default)]
pub(crate) struct Recent {
    known: HashSet<AlertId>,
    /// The ids in the order in which they came.
    order: VecDeque<AlertId>,
}

impl Recent {
    /// Adds an id. Returns whether it is new.
    pub(crate) fn add(&mut self, id: AlertId) -> bool {
        if !self.known.insert(id) {
            return false;
        }
        self.order.push_back(id);
        if self.order.len() > KNOWN
            && let Some(oldest) = self.order.pop_front()
        {
            self.known.remove(&oldest);
        }
        true
    }

    /// Removes an id that was not written after all.
    pub(crate) fn forget(&mut self, id: &AlertId) {
        if self.known.remove(id)
            && let Some(place) = self.order.iter().rposition(|known| known == id)
        {
            self.order.remove(place);
        }
    }
}

//! The alerts that a sink has had lately: what is brought a second time is the same alert.

use std::collections::{HashSet, VecDeque};
use std::fmt;

use serde_json::Value;

/// So many alerts are known again. An API server sends a batch again within minutes.
const KNOWN: usize = 1 << 18;

/// An alert's id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Id(u128);

impl Id {
    /// Of its 32 hexadecimal digits.
    pub(super) fn of(text: &str) -> Option<Self> {
        if text.len() != 32 {
            return None;
        }
        u128::from_str_radix(text, 16).ok().map(Self)
    }

    /// Of the alert, or the finding, that this is.
    pub(super) fn in_json(alert: &Value) -> Option<Self> {
        [&alert["alert_id"], &alert["finding_info"]["uid"]].into_iter().find_map(|id| Self::of(id.as_str()?))
    }
}

impl fmt::Display for Id {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:032x}", self.0)
    }
}

/// The last ids.
#[derive(Default)]
pub(super) struct Recent {
    known: HashSet<Id>,
    /// In the order in which they came.
    order: VecDeque<Id>,
}

impl Recent {
    /// Adds one; whether it is new.
    pub(super) fn add(&mut self, id: Id) -> bool {
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

    /// One of the last was not written after all.
    pub(super) fn forget(&mut self, id: &Id) {
        if self.known.remove(id)
            && let Some(place) = self.order.iter().rposition(|known| known == id)
        {
            self.order.remove(place);
        }
    }
}

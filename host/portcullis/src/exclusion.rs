//! What an operator has decided never to be alerted about.

use std::sync::Arc;

use ipnet::IpNet;
use jiff::Timestamp;
use portcullis_event::{Event, address};

use crate::package::Prefilter;

/// Events on which a rule's match is not an alert.
#[derive(Clone, Debug)]
pub struct Exclusion {
    /// The rule.
    pub rule_id: String,
    /// The fields' values; all must hold.
    pub fields: Prefilter,
    /// The networks that every source address that parses must be in, of which there must be one. Every: the client can
    /// write all addresses but the last. Empty, addresses do not matter.
    pub source_networks: Vec<IpNet>,
    /// Why.
    pub reason: Arc<str>,
    /// From when on events are no longer excluded.
    pub expires: Option<Timestamp>,
}

impl Exclusion {
    /// Whether an event is excluded. One without a time that can be read is taken to be of `now`.
    #[must_use]
    pub fn covers(&self, event: &Event<'_>, now: Timestamp) -> bool {
        self.fields.first_miss(event).is_none() && self.is_in_networks(event) && !self.has_expired(event, now)
    }

    fn is_in_networks(&self, event: &Event<'_>) -> bool {
        let mut addresses = event.source_ips.iter().filter_map(|text| address::parse(text)).peekable();
        self.source_networks.is_empty()
            || addresses.peek().is_some()
                && addresses.all(|address| self.source_networks.iter().any(|network| network.contains(&address)))
    }

    fn has_expired(&self, event: &Event<'_>, now: Timestamp) -> bool {
        let Some(expires) = self.expires else { return false };
        let time = event.event_time.as_deref().and_then(|time| time.parse().ok()).unwrap_or(now);
        time >= expires
    }
}

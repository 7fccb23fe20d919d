//! Events that an operator never wants alerts for.

use std::sync::Arc;

use ipnet::IpNet;
use jiff::Timestamp;
use portcullis_event::{Event, address};

use crate::package::Prefilter;

/// Events for which a match of a rule is not an alert.
#[derive(Clone, Debug)]
pub struct Exclusion {
    /// The rule's id.
    pub rule_id: String,
    /// The values that fields of the event must have.
    pub fields: Prefilter,
    /// Networks that contain all of the event's source addresses; there must be at least one that parses. All must be
    /// inside because the client can write every address except the last. If empty, addresses do not matter.
    pub source_networks: Vec<IpNet>,
    /// The operator's reason.
    pub reason: Arc<str>,
    /// End of the exclusion: events of this time or later are not excluded.
    pub expires: Option<Timestamp>,
}

impl Exclusion {
    /// Returns whether an event is excluded. An event without a valid time counts as an event of `now`.
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

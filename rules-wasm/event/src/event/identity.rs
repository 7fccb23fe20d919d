//! The identity of an event, which does not depend on how its record was delivered.

use std::borrow::Cow;

use super::normalized::Event;
use crate::json::Text;

impl Event<'_> {
    /// Returns bytes that are equal for two events only if the events are the same.
    ///
    /// They contain all fields but the object in the request, the networks of the addresses and `malformed`. So they
    /// depend neither on the envelope nor on the order and the escapes in the record's JSON.
    ///
    /// The ids of alerts are made from these bytes. So fields that are added to events later stay out of them.
    #[must_use]
    pub fn identity(&self) -> Vec<u8> {
        let Self {
            log_type,
            stage,
            verb,
            username,
            user_groups,
            user_arn,
            impersonated_user,
            impersonated_groups,
            source_ips,
            source_scope: _,
            asn: _,
            user_agent,
            resource,
            subresource,
            api_group,
            namespace,
            name,
            request_uri,
            response_status,
            service_type,
            cluster,
            event_time,
            stage_time,
            audit_id,
            request_object: _,
            malformed: _,
        } = self;
        let mut parts = Parts(Vec::with_capacity(1024));
        parts.text(log_type.as_str());
        for text in [
            stage,
            verb,
            username,
            user_arn,
            impersonated_user,
            user_agent,
            resource,
            subresource,
            api_group,
            namespace,
            name,
            request_uri,
            service_type,
            cluster,
            audit_id,
        ] {
            parts.optional(text.as_deref());
        }
        for time in [event_time, stage_time] {
            parts.optional(time.as_deref().map(instant).as_deref());
        }
        for texts in [user_groups, impersonated_groups, source_ips] {
            parts.texts(texts);
        }
        parts.optional(response_status.map(|status| status.code.to_string()).as_deref());
        parts.0
    }
}

/// Parts in a form in which different lists of parts have different bytes.
struct Parts(Vec<u8>);

impl Parts {
    fn text(&mut self, text: &str) {
        self.0.extend_from_slice(&(text.len() as u64).to_le_bytes());
        self.0.extend_from_slice(text.as_bytes());
    }

    fn optional(&mut self, text: Option<&str>) {
        self.0.push(u8::from(text.is_some()));
        if let Some(text) = text {
            self.text(text);
        }
    }

    fn texts(&mut self, texts: &[Text<'_>]) {
        self.0.extend_from_slice(&(texts.len() as u64).to_le_bytes());
        for text in texts {
            self.text(text);
        }
    }
}

/// Returns a time in UTC in one form. Envelopes write it with a space instead of `T`, with more or fewer zeros at the
/// end, or without a zone. Any other text is returned as it is.
fn instant(time: &str) -> Cow<'_, str> {
    let bytes = time.as_bytes();
    let is_date = bytes.len() >= 19 && bytes[4] == b'-' && bytes[7] == b'-' && matches!(bytes[10], b'T' | b' ');
    let zone = ["Z", "+00:00", " UTC"].into_iter().find(|zone| time.ends_with(zone)).unwrap_or_default();
    let digits = time.get(..time.len() - zone.len()).filter(|_| is_date);
    let is_time = |byte: u8| byte.is_ascii_digit() || matches!(byte, b':' | b'.');
    let Some(digits) = digits.filter(|digits| digits.bytes().skip(11).all(is_time)) else { return time.into() };
    let digits = if digits.contains('.') { digits.trim_end_matches('0').trim_end_matches('.') } else { digits };
    format!("{}T{}Z", &digits[..10], &digits[11..]).into()
}

#[cfg(test)]
mod tests {
    use super::super::normalized::LogType;
    use super::*;

    #[test]
    fn all_forms_of_a_time_become_one() {
        for time in [
            "2026-11-18T10:00:00.1234Z",
            "2026-11-18T10:00:00.123400Z",
            "2026-11-18 10:00:00.123400000",
            "2026-11-18 10:00:00.1234 UTC",
            "2026-11-18T10:00:00.1234+00:00",
        ] {
            assert_eq!(instant(time), "2026-11-18T10:00:00.1234Z", "{time}");
        }
        assert_eq!(instant("2026-11-18T10:00:00Z"), instant("2026-11-18T10:00:00.000Z"));
        for other in ["", "yesterday", "2026-11-18T10:00:00+01:00", "2026-11-18", "2026-11-18T10:00:0é"] {
            assert_eq!(instant(other), other);
        }
    }

    #[test]
    fn events_that_differ_in_anything_differ() {
        let event = || Event { verb: Some("a".into()), ..Event::new(LogType::Eks) };
        let others = [
            Event { verb: None, username: Some("a".into()), ..event() },
            Event { verb: Some("ab".into()), ..event() },
            Event { stage_time: Some("2026-11-18T10:00:00Z".into()), ..event() },
            Event { event_time: Some("2026-11-18T10:00:00Z".into()), ..event() },
            Event { user_groups: vec!["a".into()], ..event() },
            Event { source_ips: vec!["a".into()], ..event() },
            Event { log_type: LogType::Aks, ..event() },
        ];
        let all: std::collections::BTreeSet<Vec<u8>> = others.iter().chain([&event()]).map(Event::identity).collect();
        assert_eq!(all.len(), others.len() + 1);
        let carried = Event { malformed: vec!["userAgent".into()], ..event() };
        assert_eq!(carried.identity(), event().identity());
    }
}

//! The alert that a rule returns, limited to a size that the host accepts.

use portcullis_event::{Event, Text};

use crate::context::{self, Context, ContextValue, truncated};

/// Severity, on Panther's scale of five.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[expect(missing_docs, reason = "the names are Panther's")]
pub enum Severity {
    Info,
    Low,
    Medium,
    High,
    Critical,
}

/// The alert that a rule returns for a match.
///
/// Clients control much of its content, and a client could hide a match behind an alert that is too large for the host.
/// So every text has a limit in bytes, beyond which it is truncated and ends in `…`, and every list has a limit in items.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alert {
    title: String,
    dedup: String,
    severity: Option<Severity>,
    context: Context,
}

impl Alert {
    /// Maximum length of the title and of dedup, in bytes.
    pub const MAX_LINE: usize = 1024;
    /// Maximum length of a text in the context, in bytes.
    pub const MAX_TEXT: usize = context::MAX_TEXT;
    /// Maximum number of items of a list in the context.
    pub const MAX_ITEMS: usize = context::MAX_ITEMS;
    /// Maximum length of the context as JSON, in bytes. A value that would exceed it becomes null.
    pub const MAX_CONTEXT: usize = context::MAX_JSON;

    /// Creates an alert about an event. The title is one line for a person. Alerts of one rule with equal `dedup` are
    /// one incident. The context begins with the event's user, source addresses, request, response and impersonated
    /// user.
    #[must_use]
    pub fn new(event: &Event, title: impl Into<String>, dedup: impl Into<String>) -> Self {
        let mut context = Context::new();
        context.add("username", &event.username);
        context.add("sourceIPs", &source_ips(event));
        context.add("userAgent", &event.user_agent);
        context.add("namespace", &event.namespace);
        context.add("verb", &event.verb);
        context.add("resource", &event.resource);
        context.add("requestURI", &event.request_uri);
        context.add("responseStatus", &event.response_status);
        context.add("cluster", &event.cluster);
        context.add("name", &event.name);
        context.add("impersonatedUser", &event.impersonated_user);
        context.add("impersonatedGroups", &impersonated_groups(event));
        Self {
            title: truncated(title.into(), Self::MAX_LINE),
            dedup: truncated(dedup.into(), Self::MAX_LINE),
            severity: None,
            context,
        }
    }

    /// Adds a value to the context, or replaces the value of the same key. An absent value is null.
    #[must_use]
    pub fn with(mut self, key: &str, value: impl ContextValue) -> Self {
        self.context.add(key, &value);
        self
    }

    /// Overrides the severity of the rule's spec.
    #[must_use]
    pub fn severity(mut self, severity: Severity) -> Self {
        self.severity = Some(severity);
        self
    }

    /// Returns the title, one line for a person.
    #[must_use]
    pub fn title(&self) -> &str {
        &self.title
    }

    /// Returns the dedup: alerts of one rule with equal dedup are one incident.
    #[must_use]
    pub fn dedup(&self) -> &str {
        &self.dedup
    }

    /// Returns the severity that overrides the spec's, if any.
    #[must_use]
    pub fn severity_override(&self) -> Option<Severity> {
        self.severity
    }

    /// Returns the context, a JSON object of at most [`MAX_CONTEXT`](Self::MAX_CONTEXT) bytes.
    #[must_use]
    pub fn context(&self) -> String {
        self.context.clone().into_json()
    }

    /// Returns title, dedup, severity and context.
    #[cfg(all(target_arch = "wasm32", feature = "component"))]
    pub(crate) fn into_parts(self) -> (String, String, Option<Severity>, String) {
        (self.title, self.dedup, self.severity, self.context.into_json())
    }
}

/// Returns the source addresses. If there are too many, returns only the last ones, after a text that counts the others:
/// the client cannot write the last address.
fn source_ips<'e>(event: &'e Event<'_>) -> Option<Vec<Text<'e>>> {
    let addresses = &event.source_ips;
    let left_out = addresses.len().saturating_sub(Alert::MAX_ITEMS - 1);
    let count = (left_out > 1).then(|| Text::from(format!("… {left_out} more")));
    let rest = addresses.iter().skip(if count.is_some() { left_out } else { 0 });
    // An address has at most 45 characters; a longer text is not one.
    let rest =
        rest.map(
            |address| {
                if address.len() > 100 { truncated(address.to_string(), 100).into() } else { Text::from(&**address) }
            },
        );
    (!addresses.is_empty()).then(|| count.into_iter().chain(rest).collect())
}

/// Returns the impersonated groups, each truncated to 128 bytes so that together they leave space for the other
/// members.
fn impersonated_groups<'e>(event: &'e Event<'_>) -> Option<Vec<Text<'e>>> {
    const MAX: usize = 128;
    let groups = event.impersonated_groups.iter().take(Alert::MAX_ITEMS);
    let groups = groups
        .map(|group| if group.len() > MAX { truncated(group.to_string(), MAX).into() } else { Text::from(&**group) });
    (!event.impersonated_groups.is_empty()).then(|| groups.collect())
}

#[cfg(test)]
mod tests {
    use portcullis_event::json::Raw;
    use portcullis_event::{LogType, ResponseStatus};
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn absent_fields_are_null_and_not_missing() {
        let alert = Alert::new(&Event::new(LogType::Eks), "title", "dedup").with("asn", None::<&str>);
        let keys = ["username", "sourceIPs", "userAgent", "namespace", "verb", "resource", "requestURI"];
        let keys =
            keys.iter().chain(&["responseStatus", "cluster", "name", "impersonatedUser", "impersonatedGroups", "asn"]);
        let members: Vec<String> = keys.map(|key| format!("{key:?}:null")).collect();
        assert_eq!(alert.context(), format!("{{{}}}", members.join(",")));
    }

    #[test]
    fn values_are_written_as_json() {
        let raw = Raw::new(r#"{"port":80}"#).expect("the value is JSON");
        let alert = Alert::new(&Event::new(LogType::Eks), "", "").with("name", "a\"\n").with("list", vec![raw, raw]);
        let alert = alert.with("number", -5_i64).with("yes", true).with("status", ResponseStatus { code: 201 });
        let context: serde_json::Value = serde_json::from_str(&alert.context()).expect("the context is an object");
        assert_eq!(context["name"], "a\"\n");
        assert_eq!(context["list"], serde_json::json!([{"port": 80}, {"port": 80}]));
        assert_eq!(context["number"], -5);
        assert_eq!(context["yes"], true);
        assert_eq!(context["status"]["code"], 201);
    }

    #[test]
    fn a_later_value_replaces_the_value_of_an_equal_key() {
        let alert = Alert::new(&Event::new(LogType::Eks), "", "").with("verb", "a long one").with("x", 1_i64);
        let alert = alert.with("verb", "get").with("x", "y").with("name", true).with("z", false);
        let context = alert.context();
        assert!(context.contains(r#""namespace":null,"verb":"get","resource":null"#), "{context}");
        assert!(
            context.ends_with(r#""name":true,"impersonatedUser":null,"impersonatedGroups":null,"x":"y","z":false}"#),
            "{context}"
        );
    }

    #[test]
    fn a_long_title_is_truncated() {
        let title = "é".repeat(Alert::MAX_LINE);
        assert!(Alert::new(&Event::new(LogType::Eks), title, "").title().len() <= Alert::MAX_LINE);
    }

    #[test]
    fn only_the_last_of_many_source_addresses_are_kept() {
        let addresses = |count: usize| {
            let mut event = Event::new(LogType::Eks);
            event.source_ips = (0..count).map(|n| Text::from(format!("10.0.0.{n}"))).collect();
            let ips = source_ips(&event).unwrap_or_default();
            ips.iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        assert_eq!(addresses(0), [""; 0]);
        assert_eq!(addresses(32).len(), 32);
        assert_eq!(addresses(32)[0], "10.0.0.0");
        assert_eq!(addresses(40).len(), 32);
        assert_eq!(addresses(40)[0], "… 9 more");
        assert_eq!(addresses(40)[1], "10.0.0.9");
        assert_eq!(addresses(40)[31], "10.0.0.39");
    }

    #[test]
    fn the_context_names_the_impersonated_user_and_groups() {
        let mut event = Event::new(LogType::Eks);
        event.impersonated_user = Some("mira".into());
        event.impersonated_groups = vec!["system:masters".into(), "é".repeat(200).into()];
        let context = |event: &Event| -> serde_json::Value {
            serde_json::from_str(&Alert::new(event, "", "").context()).expect("the context is an object")
        };
        let found = context(&event);
        assert_eq!(found["impersonatedUser"], "mira");
        assert_eq!(found["impersonatedGroups"], serde_json::json!(["system:masters", "é".repeat(62) + "…"]));

        // The client chooses the groups: many long ones must not displace other members.
        event.impersonated_groups = vec!["\u{1}".repeat(3000).into(); 100];
        event.cluster = Some("eks-1".into());
        let found = context(&event);
        assert_eq!(found["impersonatedGroups"].as_array().map(Vec::len), Some(Alert::MAX_ITEMS));
        assert!(Alert::new(&event, "", "").context().len() < Alert::MAX_CONTEXT / 3 * 2);
    }

    proptest! {
        #[test]
        fn no_client_makes_an_alert_too_large(
            texts in prop::collection::vec("[\\x00-\\x7f\u{e9}\u{1f600}]{0,4000}", 12),
            addresses in prop::collection::vec("[\\x00-\\x7f]{0,3000}", 0..100),
        ) {
            let mut event = Event::new(LogType::Eks);
            event.username = Some((&*texts[0]).into());
            event.user_agent = Some((&*texts[1]).into());
            event.request_uri = Some((&*texts[2]).into());
            event.source_ips = addresses.iter().map(|address| (&**address).into()).collect();
            let mut alert = Alert::new(&event, &*texts[3], &*texts[4]);
            for text in &texts[5..] {
                alert = alert.with(&text.chars().take(9).collect::<String>(), text.as_str());
            }
            prop_assert!(alert.title().len() <= Alert::MAX_LINE && alert.dedup().len() <= Alert::MAX_LINE);
            let json = alert.context();
            prop_assert!(json.len() <= Alert::MAX_CONTEXT);
            let read: serde_json::Map<String, serde_json::Value> = serde_json::from_str(&json).expect("the context is an object");
            prop_assert_eq!(read.len(), alert.context.len());
        }
    }
}

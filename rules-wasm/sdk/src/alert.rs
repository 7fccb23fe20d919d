//! The alert that a rule returns, limited to a size that the host accepts.

use portcullis_event::json::{Raw, is_written_as_it_is};
use portcullis_event::{Event, ResponseStatus, Text};

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

/// The members of a context.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Context {
    /// All keys and values as JSON, concatenated.
    json: String,
    /// Lengths of each key and value.
    lengths: Vec<[usize; 2]>,
}

impl Context {
    /// Allocates enough for most contexts: the members of every alert, and some that the rule adds.
    fn new() -> Self {
        Self { json: String::with_capacity(1024), lengths: Vec::with_capacity(16) }
    }

    /// Iterates over keys and values.
    fn members(&self) -> impl Iterator<Item = (&str, &str)> {
        let mut rest = &*self.json;
        self.lengths.iter().map(move |[key, value]| {
            let (member, after) = rest.split_at(key + value);
            rest = after;
            member.split_at(*key)
        })
    }

    fn add(&mut self, key: &str, value: &impl ContextValue) {
        let begin = self.json.len();
        key.write(&mut self.json);
        let middle = self.json.len();
        value.write(&mut self.json);
        let position = self.members().position(|(earlier, _)| *earlier == self.json[begin..middle]);
        match position {
            None => self.lengths.push([middle - begin, self.json.len() - middle]),
            Some(position) => {
                let value = self.json.split_off(middle);
                self.json.truncate(begin);
                let [key, length] = self.lengths[position];
                let from = self.lengths[..position].as_flattened().iter().sum::<usize>() + key;
                self.json.replace_range(from..from + length, &value);
                self.lengths[position][1] = value.len();
            }
        }
    }
}

impl Alert {
    /// Maximum length of the title and of dedup, in bytes.
    pub const MAX_LINE: usize = 1024;
    /// Maximum length of a text in the context, in bytes.
    pub const MAX_TEXT: usize = 2048;
    /// Maximum number of items of a list in the context.
    pub const MAX_ITEMS: usize = 32;
    /// Maximum length of the context as JSON, in bytes. A value that would exceed it becomes null.
    pub const MAX_CONTEXT: usize = 48 << 10;

    /// Creates an alert about an event. The title is one line for a person. Alerts of one rule with equal `dedup` are
    /// one incident. The context begins with the event's user, source addresses, request, response and impersonated
    /// user.
    #[must_use]
    pub fn new(event: &Event, title: impl Into<String>, dedup: impl Into<String>) -> Self {
        Self {
            title: truncated(title.into(), Self::MAX_LINE),
            dedup: truncated(dedup.into(), Self::MAX_LINE),
            severity: None,
            context: Context::new(),
        }
        .with("username", event.username.as_deref())
        .with("sourceIPs", source_ips(event))
        .with("userAgent", event.user_agent.as_deref())
        .with("namespace", event.namespace.as_deref())
        .with("verb", event.verb.as_deref())
        .with("resource", event.resource.as_deref())
        .with("requestURI", event.request_uri.as_deref())
        .with("responseStatus", event.response_status)
        .with("cluster", event.cluster.as_deref())
        .with("name", event.name.as_deref())
        .with("impersonatedUser", event.impersonated_user.as_deref())
        .with("impersonatedGroups", impersonated_groups(event))
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
        const NULL: &str = "null";
        let length_with = |key: &str, value: &str| key.len() + value.len() + ":,".len();
        // Length of the remaining members if all of them are null.
        let mut reserve: usize = self.context.members().map(|(key, _)| length_with(key, NULL)).sum();
        let all: usize = self.context.members().map(|(key, value)| length_with(key, value)).sum();
        let mut json = String::with_capacity(all.min(Self::MAX_CONTEXT) + "{}".len());
        json.push('{');
        for (key, value) in self.context.members() {
            reserve -= length_with(key, NULL);
            let fits = json.len() + length_with(key, value) + reserve < Self::MAX_CONTEXT;
            if json.len() > 1 {
                json.push(',');
            }
            json.push_str(key);
            json.push(':');
            json.push_str(if fits { value } else { NULL });
        }
        json.push('}');
        json
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

/// A value that can be in an alert's context.
pub trait ContextValue {
    /// Appends the value as JSON, truncated to its limit.
    fn write(&self, json: &mut String);
}

impl ContextValue for str {
    fn write(&self, json: &mut String) {
        let truncated = (self.len() > Alert::MAX_TEXT).then(|| truncated(self.to_owned(), Alert::MAX_TEXT));
        let text = truncated.as_deref().unwrap_or(self);
        if is_written_as_it_is(text) {
            json.reserve(text.len() + 2);
            json.push('"');
            json.push_str(text);
            json.push('"');
        } else {
            // Writing a text to memory cannot fail.
            json.push_str(&serde_json::to_string(text).unwrap_or_default());
        }
    }
}

impl ContextValue for Text<'_> {
    fn write(&self, json: &mut String) {
        str::write(self, json);
    }
}

impl ContextValue for i64 {
    fn write(&self, json: &mut String) {
        json.push_str(&self.to_string());
    }
}

impl ContextValue for bool {
    fn write(&self, json: &mut String) {
        json.push_str(if *self { "true" } else { "false" });
    }
}

impl ContextValue for ResponseStatus {
    fn write(&self, json: &mut String) {
        json.push_str("{\"code\":");
        self.code.write(json);
        json.push('}');
    }
}

/// Writes the value as it is in the record, or null if it is too long.
impl ContextValue for Raw<'_> {
    fn write(&self, json: &mut String) {
        json.push_str(if self.get().len() > Alert::MAX_TEXT { "null" } else { self.get() });
    }
}

impl<T: ContextValue> ContextValue for [T] {
    fn write(&self, json: &mut String) {
        json.push('[');
        for (position, item) in self.iter().take(Alert::MAX_ITEMS).enumerate() {
            if position > 0 {
                json.push(',');
            }
            item.write(json);
        }
        json.push(']');
    }
}

impl<T: ContextValue> ContextValue for Vec<T> {
    fn write(&self, json: &mut String) {
        self.as_slice().write(json);
    }
}

impl<T: ContextValue + ?Sized> ContextValue for &T {
    fn write(&self, json: &mut String) {
        T::write(self, json);
    }
}

impl<T: ContextValue> ContextValue for Option<T> {
    fn write(&self, json: &mut String) {
        match self {
            Some(value) => value.write(json),
            None => json.push_str("null"),
        }
    }
}

/// Truncates a text to `max` bytes, including the `…` at its end.
fn truncated(mut text: String, max: usize) -> String {
    const ELLIPSIS: char = '…';
    if text.len() > max {
        text.truncate(text.floor_char_boundary(max - ELLIPSIS.len_utf8()));
        text.push(ELLIPSIS);
    }
    text
}

#[cfg(test)]
mod tests {
    use portcullis_event::LogType;
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

    proptest! {
        #[test]
        fn texts_are_written_as_serde_json_writes_them(text in "([a-zé/ ]{0,9}|[\\x00-\\x7f\u{80}\u{1f600}]{0,3}){0,6}") {
            let mut json = String::new();
            text.as_str().write(&mut json);
            prop_assert_eq!(json, serde_json::to_string(&text).expect("the value is JSON"));
        }
    }

    #[test]
    fn long_texts_are_truncated_at_a_character() {
        assert_eq!(truncated("åäö".to_owned(), 6), "åäö");
        assert_eq!(truncated("åäöå".to_owned(), 6), "å…");
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
            prop_assert_eq!(read.len(), alert.context.lengths.len());
        }
    }
}

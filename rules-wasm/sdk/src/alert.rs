//! What a match becomes, kept to a size that the host is sure to take.

use portcullis_event::json::{Raw, is_written_as_it_is};
use portcullis_event::{Event, ResponseStatus, Text};

/// How bad it is, in Panther's five steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Severity {
    Info,
    Low,
    Medium,
    High,
    Critical,
}

/// What a match becomes.
///
/// Much of it is written by the client that the rule suspects. An alert must not become too large for the host, which
/// would hide the match; so every text has a limit in bytes, where it is cut and ends in `…`, and every list one in
/// items.
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
    /// All keys and values as JSON, one behind the other.
    written: String,
    /// How long the key and the value of each are.
    lengths: Vec<[usize; 2]>,
}

impl Context {
    /// Room for what most contexts have: the members of every alert, and some of the rule's own.
    fn new() -> Self {
        Self { written: String::with_capacity(1024), lengths: Vec::with_capacity(16) }
    }

    /// Keys and values.
    fn members(&self) -> impl Iterator<Item = (&str, &str)> {
        let mut rest = &*self.written;
        self.lengths.iter().map(move |[key, value]| {
            let (member, behind) = rest.split_at(key + value);
            rest = behind;
            member.split_at(*key)
        })
    }

    fn add(&mut self, key: &str, value: &impl ContextValue) {
        let begin = self.written.len();
        key.write(&mut self.written);
        let middle = self.written.len();
        value.write(&mut self.written);
        let place = self.members().position(|(earlier, _)| *earlier == self.written[begin..middle]);
        match place {
            None => self.lengths.push([middle - begin, self.written.len() - middle]),
            Some(place) => {
                let value = self.written.split_off(middle);
                self.written.truncate(begin);
                let [key, length] = self.lengths[place];
                let from = self.lengths[..place].as_flattened().iter().sum::<usize>() + key;
                self.written.replace_range(from..from + length, &value);
                self.lengths[place][1] = value.len();
            }
        }
    }
}

impl Alert {
    /// The longest title or dedup key, in bytes.
    pub const MAX_LINE: usize = 1024;
    /// The longest text in the context, in bytes.
    pub const MAX_TEXT: usize = 2048;
    /// The most items of a list in the context.
    pub const MAX_ITEMS: usize = 32;
    /// The longest context as JSON, in bytes. A value that does not fit any more is null.
    pub const MAX_CONTEXT: usize = 48 << 10;

    /// An alert about an event. The title is one line for a person; alerts of one rule with equal `dedup` are one
    /// incident. The context begins with who, from where, did what to which object and how it ended, and as whom.
    #[must_use]
    pub fn new(event: &Event, title: impl Into<String>, dedup: impl Into<String>) -> Self {
        Self {
            title: cut(title.into(), Self::MAX_LINE),
            dedup: cut(dedup.into(), Self::MAX_LINE),
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

    /// Adds a value to the context, in the place of an earlier one with the same key; an absent value is null.
    #[must_use]
    pub fn with(mut self, key: &str, value: impl ContextValue) -> Self {
        self.context.add(key, &value);
        self
    }

    /// Overrides the severity that the rule's spec has.
    #[must_use]
    pub fn severity(mut self, severity: Severity) -> Self {
        self.severity = Some(severity);
        self
    }

    /// The line for a person.
    #[must_use]
    pub fn title(&self) -> &str {
        &self.title
    }

    /// What makes alerts of the rule one incident.
    #[must_use]
    pub fn dedup(&self) -> &str {
        &self.dedup
    }

    /// The severity that overrides the spec's.
    #[must_use]
    pub fn severity_override(&self) -> Option<Severity> {
        self.severity
    }

    /// What a person needs to judge the match: a JSON object of at most [`MAX_CONTEXT`](Self::MAX_CONTEXT) bytes.
    #[must_use]
    pub fn context(&self) -> String {
        const NULL: &str = "null";
        let length_with = |key: &str, value: &str| key.len() + value.len() + ":,".len();
        // What the members need when all that follow are null.
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

/// The source addresses; of many the last, which are the ones that the client cannot write, after a mark.
fn source_ips<'e>(event: &'e Event<'_>) -> Option<Vec<Text<'e>>> {
    let addresses = &event.source_ips;
    let left_out = addresses.len().saturating_sub(Alert::MAX_ITEMS - 1);
    let mark = (left_out > 1).then(|| Text::from(format!("… {left_out} more")));
    let rest = addresses.iter().skip(if mark.is_some() { left_out } else { 0 });
    // The longest address has 45 characters; what is much longer is none.
    let rest = rest
        .map(|address| if address.len() > 100 { cut(address.to_string(), 100).into() } else { Text::from(&**address) });
    (!addresses.is_empty()).then(|| mark.into_iter().chain(rest).collect())
}

/// The groups that the user acted with: as many as a list has, each with as much as leaves room for the rest of the context.
fn impersonated_groups<'e>(event: &'e Event<'_>) -> Option<Vec<Text<'e>>> {
    const MAX: usize = 128;
    let groups = event.impersonated_groups.iter().take(Alert::MAX_ITEMS);
    let groups =
        groups.map(|group| if group.len() > MAX { cut(group.to_string(), MAX).into() } else { Text::from(&**group) });
    (!event.impersonated_groups.is_empty()).then(|| groups.collect())
}

/// What can stand in an alert's context.
pub trait ContextValue {
    /// Appends the value as JSON, cut to its limit.
    fn write(&self, json: &mut String);
}

impl ContextValue for str {
    fn write(&self, json: &mut String) {
        let cut = (self.len() > Alert::MAX_TEXT).then(|| cut(self.to_owned(), Alert::MAX_TEXT));
        let text = cut.as_deref().unwrap_or(self);
        if is_written_as_it_is(text) {
            json.reserve(text.len() + 2);
            json.push('"');
            json.push_str(text);
            json.push('"');
        } else {
            // Writing text into memory cannot fail.
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

/// A part of the record as it is; one that is too long is null.
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

/// The text, or as much of its beginning as fits with `…` into `max` bytes.
fn cut(mut text: String, max: usize) -> String {
    const MARK: char = '…';
    if text.len() > max {
        text.truncate(text.floor_char_boundary(max - MARK.len_utf8()));
        text.push(MARK);
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
        let raw = Raw::new(r#"{"port":80}"#).expect("JSON");
        let alert = Alert::new(&Event::new(LogType::Eks), "", "").with("name", "a\"\n").with("list", vec![raw, raw]);
        let alert = alert.with("number", -5_i64).with("yes", true).with("status", ResponseStatus { code: 201 });
        let context: serde_json::Value = serde_json::from_str(&alert.context()).expect("an object");
        assert_eq!(context["name"], "a\"\n");
        assert_eq!(context["list"], serde_json::json!([{"port": 80}, {"port": 80}]));
        assert_eq!(context["number"], -5);
        assert_eq!(context["yes"], true);
        assert_eq!(context["status"]["code"], 201);
    }

    #[test]
    fn of_equal_keys_the_last_value_stands_in_the_first_ones_place() {
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
            prop_assert_eq!(json, serde_json::to_string(&text).expect("JSON"));
        }
    }

    #[test]
    fn long_texts_are_cut_at_a_character() {
        assert_eq!(cut("åäö".to_owned(), 6), "åäö");
        assert_eq!(cut("åäöå".to_owned(), 6), "å…");
        let title = "é".repeat(Alert::MAX_LINE);
        assert!(Alert::new(&Event::new(LogType::Eks), title, "").title().len() <= Alert::MAX_LINE);
    }

    #[test]
    fn of_many_source_addresses_the_last_are_kept_and_the_others_counted() {
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
    fn as_whom_the_user_acted_stands_in_the_context() {
        let mut event = Event::new(LogType::Eks);
        event.impersonated_user = Some("mira".into());
        event.impersonated_groups = vec!["system:masters".into(), "é".repeat(200).into()];
        let context = |event: &Event| -> serde_json::Value {
            serde_json::from_str(&Alert::new(event, "", "").context()).expect("an object")
        };
        let said = context(&event);
        assert_eq!(said["impersonatedUser"], "mira");
        assert_eq!(said["impersonatedGroups"], serde_json::json!(["system:masters", "é".repeat(62) + "…"]));

        // Groups are the client's own: many and long ones push nothing else out.
        event.impersonated_groups = vec!["\u{1}".repeat(3000).into(); 100];
        event.cluster = Some("eks-1".into());
        let said = context(&event);
        assert_eq!(said["impersonatedGroups"].as_array().map(Vec::len), Some(Alert::MAX_ITEMS));
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
            let read: serde_json::Map<String, serde_json::Value> = serde_json::from_str(&json).expect("an object");
            prop_assert_eq!(read.len(), alert.context.lengths.len());
        }
    }
}

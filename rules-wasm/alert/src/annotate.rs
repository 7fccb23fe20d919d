//! Adds the alerts of a record to the record itself.

use std::borrow::Cow;
use std::fmt;

use serde::Deserializer as _;
use serde::de::{MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::Alert;

/// Name of the added member.
const MEMBER: &str = "portcullis";

/// Returns the record with a member `"portcullis":{"verdict":"alert","alerts":[…]}` at its end, which replaces all
/// members of this name. Returns `None` if the record is not a JSON object.
#[must_use]
pub fn annotated<'a>(record: &str, alerts: impl IntoIterator<Item = &'a Alert>) -> Option<String> {
    with_alerts(unannotated(record)?, alerts)
}

/// Adds the alerts to a record that [`unannotated`] returned. Returns `None` if the record is not a JSON object.
#[must_use]
pub fn with_alerts<'a>(record: Cow<'_, str>, alerts: impl IntoIterator<Item = &'a Alert>) -> Option<String> {
    let mut annotated = record.into_owned();
    annotated.truncate(annotated.rfind('}')?);
    if !annotated.trim_end().ends_with('{') {
        annotated.push(',');
    }
    annotated.push_str("\"portcullis\":{\"verdict\":\"alert\",\"alerts\":[");
    for (n, alert) in alerts.into_iter().enumerate() {
        if n > 0 {
            annotated.push(',');
        }
        annotated.push_str(&serde_json::to_string(alert).ok()?);
    }
    annotated.push_str("]}}");
    Some(annotated)
}

/// Returns the record without the members that [`annotated`] adds, and otherwise as written: annotating a record twice
/// gives the same text as annotating it once. Borrows a record that has no such member. Returns `None` if the record is
/// not a JSON object.
#[must_use]
pub fn unannotated(record: &str) -> Option<Cow<'_, str>> {
    let mut deserializer = serde_json::Deserializer::from_str(record);
    let members = deserializer.deserialize_map(Members).ok()?;
    deserializer.end().ok()?;
    // Names are read as raw JSON, so that a lone surrogate in a name, which is not a valid string, does not fail the record.
    let is_annotation = |name: &RawValue| serde_json::from_str::<String>(name.get()).is_ok_and(|name| name == MEMBER);
    if !members.iter().any(|(name, _)| is_annotation(name)) {
        return Some(record.into());
    }
    let offset = |part: &RawValue| part.get().as_ptr().addr() - record.as_ptr().addr();
    let mut others = record[..members.first().map_or(0, |(name, _)| offset(name))].to_owned();
    // The ends of the previous member and of the last member that was kept.
    let (mut previous_end, mut kept_end) = (0, None);
    for (name, value) in members {
        let (begin, end) = (offset(name), offset(value) + value.get().len());
        if !is_annotation(name) {
            // Includes the comma before the member, unless it is now the first member.
            others.push_str(&record[if kept_end.is_some() { previous_end } else { begin }..end]);
            kept_end = Some(end);
        }
        previous_end = end;
    }
    // White space between the last kept member and the comma or bracket after it.
    let rest = kept_end.map_or("", |end| &record[end..]);
    others.push_str(&rest[..rest.find([',', '}']).unwrap_or(0)]);
    others.push('}');
    Some(others.into())
}

/// Deserializes the members of an object, as written.
struct Members;

impl<'de> Visitor<'de> for Members {
    type Value = Vec<(&'de RawValue, &'de RawValue)>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut members = Vec::new();
        while let Some(member) = map.next_entry()? {
            members.push(member);
        }
        Ok(members)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EMPTY: &str = r#""portcullis":{"verdict":"alert","alerts":[]}}"#;

    #[test]
    fn the_member_is_added_once_at_the_end() {
        let of = |record| annotated(record, []);
        let with = |before: &str| Some(format!("{before}{EMPTY}"));
        assert_eq!(of(r#"{"a":1.0}"#), with(r#"{"a":1.0,"#));
        assert_eq!(of(" { \"a\" : {} } \n"), with(" { \"a\" : {} ,"));
        assert_eq!(of("{ }"), with("{ "));
        assert_eq!(of(r#"{"portcullis":5}"#), with("{"));
        assert_eq!(of(r#"{"\u0070ortcullis":"}","a":1e5, "portcullis":{"b":[]}}"#), with(r#"{"a":1e5,"#));
        assert_eq!(
            of(r#"{"portcullis":1 , "a" : 1 , "portcullis":2,"b":3 ,"portcullis":4 }"#),
            with(r#"{"a" : 1,"b":3 ,"#)
        );
        assert_eq!(of(r#"{"\ud800":{"portcullis":1}}"#), with(r#"{"\ud800":{"portcullis":1},"#));
        for record in ["{}", " { \"a\" : [ 1 ] , \"b\":{} } ", "{\n  \"portcullis\": 5,\n  \"a\": 1\n}\n"] {
            let once = of(record).expect("the record is an object");
            assert_eq!(annotated(&once, []), Some(once));
        }
        for other in ["", "[]", "{", "{}}", "5"] {
            assert_eq!(of(other), None, "{other}");
        }
    }
}

//! A record that says what was found in it.

use std::borrow::Cow;
use std::fmt;

use serde::de::{MapAccess, Visitor};
use serde::{Deserializer as _, Serialize};
use serde_json::value::RawValue;

use crate::Alert;

/// The name of the member.
const MEMBER: &str = "portcullis";

/// The record with one more member at its end, `"portcullis":{"verdict":"alert","alerts":[…]}`, in the place of any that it
/// has by this name. None for what is no JSON object.
#[must_use]
pub fn annotated<'a, C: Serialize + 'a>(
    record: &str,
    alerts: impl IntoIterator<Item = &'a Alert<C>>,
) -> Option<String> {
    with_alerts(unannotated(record)?, alerts)
}

/// The same, of what [`unannotated`] has given.
#[must_use]
pub fn with_alerts<'a, C: Serialize + 'a>(
    record: Cow<'_, str>,
    alerts: impl IntoIterator<Item = &'a Alert<C>>,
) -> Option<String> {
    let mut annotated = record.into_owned();
    // As an object it ends in a bracket.
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

/// The record without what was once said about it, and else as it is written, so that what is annotated a second time is
/// what it was after the first. Borrowed, if it says nothing. None for what is no JSON object.
#[must_use]
pub fn unannotated(record: &str) -> Option<Cow<'_, str>> {
    let mut deserializer = serde_json::Deserializer::from_str(record);
    let members = deserializer.deserialize_map(Members).ok()?;
    deserializer.end().ok()?;
    // Names as they are written: one with a lone surrogate is none of ours, and no obstacle.
    let is_ours = |name: &RawValue| serde_json::from_str::<String>(name.get()).is_ok_and(|name| name == MEMBER);
    if !members.iter().any(|(name, _)| is_ours(name)) {
        return Some(record.into());
    }
    let at = |part: &RawValue| part.get().as_ptr().addr() - record.as_ptr().addr();
    let mut others = record[..members.first().map_or(0, |(name, _)| at(name))].to_owned();
    // Where the member before ends, and the last one that stays.
    let (mut before, mut last) = (0, None);
    for (name, value) in members {
        let (begin, end) = (at(name), at(value) + value.get().len());
        if !is_ours(name) {
            // With the comma in front of it, unless it is now the first.
            others.push_str(&record[if last.is_some() { before } else { begin }..end]);
            last = Some(end);
        }
        before = end;
    }
    // What is white between the last one and a comma or the end.
    let behind = last.map_or("", |last| &record[last..]);
    others.push_str(&behind[..behind.find([',', '}']).unwrap_or(0)]);
    others.push('}');
    Some(others.into())
}

/// The members of an object, as they are written.
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

    const NOTHING: &str = r#""portcullis":{"verdict":"alert","alerts":[]}}"#;

    #[test]
    fn the_member_stands_at_the_end_and_there_once() {
        let of = |record| annotated::<()>(record, []);
        let with = |before: &str| Some(format!("{before}{NOTHING}"));
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
            let once = of(record).expect("an object");
            assert_eq!(annotated::<()>(&once, []), Some(once));
        }
        for other in ["", "[]", "{", "{}}", "5"] {
            assert_eq!(of(other), None, "{other}");
        }
    }
}

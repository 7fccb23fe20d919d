//! A look at a record's bytes, which spares most of them the reading.

use std::sync::LazyLock;

use memchr::memchr2;

use crate::rules::RULES;

/// The fields whose values are, from their beginning, those of a string in the record, whatever the cloud.
const AS_IN_THE_RECORD: [&str; 2] = ["serviceType", "username"];

/// What a string in a record must begin with for one of the rules to match; without any, where that cannot be said.
static BEGINNINGS: LazyLock<Option<Vec<&[u8]>>> = LazyLock::new(|| {
    let mut beginnings = Vec::new();
    for rule in &RULES {
        let (_, values) = rule.prefilter.iter().find(|(field, _)| AS_IN_THE_RECORD.contains(field))?;
        beginnings.extend(values.iter().map(|value| value.trim_end_matches('*').as_bytes()));
    }
    Some(beginnings)
});

/// Whether a rule may match, whatever the record turns out to be. Where not, none does.
///
/// Strings may stand inside of strings, as audit events of AKS do, with a backslash before each of their quotes. Escapes
/// of letters, which hide them from a look, are written by nobody: a record with one is to be read.
#[must_use]
pub fn may_match(record: &[u8]) -> bool {
    let Some(beginnings) = &*BEGINNINGS else { return true };
    let mut rest = record;
    while let Some(found) = memchr2(b'"', b'\\', rest) {
        let behind = &rest[found + 1..];
        let may = match rest[found] {
            b'"' => beginnings.iter().any(|beginning| behind.starts_with(beginning)),
            _ => behind.starts_with(b"u"),
        };
        if may {
            return true;
        }
        rest = behind;
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_look_finds_what_rules_ask_for_and_nothing_else() {
        for record in [
            r#"{"user":{"username":"system:node:n"}}"#,
            r#"{"properties":{"log":"{\"user\":{\"username\":\"aks:x\"}}"}}"#,
            r#"{"requestObject":{"spec":{"type" : "NodePort"}}}"#,
            r#"{"requestObject":{"spec":{"type":"\u004eodePort"}}}"#,
            r#"{"log":"{\\\"spec\\\":{\\\"type\\\":\\\"NodePort\\\"}}"}"#,
        ] {
            assert!(may_match(record.as_bytes()), "{record}");
        }
        for record in ["", "\"", "\\", r#"{"user":{"username":"ada system:node:n"}}"#, r#"{"type":"ClusterIP"}"#] {
            assert!(!may_match(record.as_bytes()), "{record}");
        }
    }
}

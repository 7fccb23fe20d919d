//! Scans a record's bytes, so that most records need not be parsed.

use std::sync::LazyLock;

use memchr::memchr2;

use crate::rules::RULES;

/// Fields whose value begins like a string in the record, on every cloud.
const VERBATIM_FIELDS: [&str; 2] = ["serviceType", "username"];

/// Prefixes of strings, one of which is in every record that a rule matches. `None` if a rule's prefilter does not
/// imply any.
static PREFIXES: LazyLock<Option<Vec<&[u8]>>> = LazyLock::new(|| {
    let mut prefixes = Vec::new();
    for rule in &RULES {
        let (_, values) = rule.prefilter.iter().find(|(field, _)| VERBATIM_FIELDS.contains(field))?;
        prefixes.extend(values.iter().map(|value| value.trim_end_matches('*').as_bytes()));
    }
    Some(prefixes)
});

/// Returns whether a rule may match the record. If not, no rule matches it.
///
/// A string may be nested in another string, with a backslash before each of its quotes, as AKS writes audit events.
/// Unicode escapes could hide a prefix, but clouds rarely write them, so every record with one may match.
#[must_use]
pub fn may_match(record: &[u8]) -> bool {
    let Some(prefixes) = &*PREFIXES else { return true };
    let mut rest = record;
    while let Some(found) = memchr2(b'"', b'\\', rest) {
        let after = &rest[found + 1..];
        let may = match rest[found] {
            b'"' => prefixes.iter().any(|prefix| after.starts_with(prefix)),
            _ => after.starts_with(b"u"),
        };
        if may {
            return true;
        }
        rest = after;
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_records_with_a_prefix_or_an_escape_may_match() {
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

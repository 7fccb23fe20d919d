//! Fuzzes a rule's spec, which is part of an untrusted package.

use portcullis::package::Spec;
use portcullis_event::{Buffers, Outcome, Rejected, normalize};
use serde::de::IgnoredAny;

/// Reads the bytes as a spec. Checks of an accepted spec what the host relies on.
pub(crate) fn spec(data: &[u8]) {
    let spec = match Spec::from_yaml(data) {
        Ok(spec) => spec,
        Err(error) => {
            assert!(!error.to_string().is_empty());
            return;
        }
    };
    // The id is part of file names and of output lines.
    assert!(!spec.rule_id.is_empty() && !spec.rule_id.starts_with('.'), "{:?}", spec.rule_id);
    assert!(!spec.rule_id.contains(|c: char| c == '/' || c.is_control()), "{:?}", spec.rule_id);
    assert!(!spec.log_types.is_empty());
    assert!(spec.threshold > 0);
    let mut buffers = Buffers::default();
    for test_case in &spec.test_cases {
        let record = &test_case.record;
        assert!(serde_json::from_str::<IgnoredAny>(record).is_ok(), "{record}");
        let outcome = normalize(record.as_bytes(), &mut buffers);
        assert!(!matches!(outcome, Outcome::Rejected(Rejected::NotJson(_) | Rejected::NotUtf8 { .. })), "{outcome:?}");
    }
}

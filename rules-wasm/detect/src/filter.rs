//! Annotates records in a log pipeline with their alerts.

use portcullis_alert::{Alert, unannotated, with_alerts};

use crate::{Buffers, detect_inside, may_match};

/// Levels that the context of an alert may be nested. Fluent Bit keeps records in `MessagePack`, whose reader stops at a
/// record of more than 63 levels without a word, and loses all that follows in its chunk (5.1). Three levels are around
/// a context, and outputs may add their own. A client chooses how deep the objects are nested that rules quote.
const MAX_LEVELS: usize = 32;

/// Returns the record with its alerts in a member `portcullis`, or `None` if it has no alerts.
///
/// If the record is the envelope of a log shipper, evaluates all records in it. A record that is already annotated gets
/// the same alerts again.
#[must_use]
pub fn filter(record: &[u8], buffers: &mut Buffers) -> Option<String> {
    if !may_match(record) {
        return None;
    }
    let text = std::str::from_utf8(record).ok()?;
    let alerts = detect_inside(record, buffers).ok().filter(|alerts| !alerts.is_empty())?;
    let alerts = alerts.into_iter().map(|alert| Alert { context: alert.context.nested_at_most(MAX_LEVELS), ..alert });
    let alerts: Vec<_> = alerts.collect();
    with_alerts(unannotated(text)?, &alerts)
}

#[cfg(test)]
mod tests {
    use super::*;

    const RECORD: &str = r#"{"kind":"Event","apiVersion":"audit.k8s.io/v1","verb":"create","user":{"username":"ada"},"objectRef":{"resource":"services","name":"web"},"requestObject":{"spec":{"type":"NodePort"}}}"#;

    /// Returns the number of alerts that the filter adds, and checks that it leaves the rest of the record as it is.
    fn added_alerts(record: &str) -> usize {
        let Some(filtered) = filter(record.as_bytes(), &mut Buffers::default()) else { return 0 };
        assert!(filtered.starts_with(record.strip_suffix('}').expect("the record is an object")), "{filtered}");
        filtered.matches("\"alert_id\"").count()
    }

    #[test]
    fn records_are_found_in_envelopes() {
        let text = serde_json::to_string(RECORD).expect("a text is JSON");
        assert_eq!(added_alerts(RECORD), 1);
        assert_eq!(added_alerts(&format!(r#"{{"stream":"stdout","log":{text}}}"#)), 1);
        assert_eq!(added_alerts(&format!(r#"{{"message":{text},"items":5}}"#)), 1);
        assert_eq!(added_alerts(&format!(r#"{{"log":{RECORD}}}"#)), 1);
        let list = format!(r#"{{"kind":"EventList","items":[{RECORD},5,{{}},{RECORD}]}}"#);
        assert_eq!(added_alerts(&list), 2);
        assert_eq!(added_alerts(&format!(r#"{{"message":{list}}}"#)), 2);
    }

    #[test]
    fn filtering_twice_is_filtering_once() {
        let once = filter(RECORD.as_bytes(), &mut Buffers::default()).expect("the record alerts");
        assert_eq!(filter(once.as_bytes(), &mut Buffers::default()), Some(once));
        let forged = RECORD.replacen('{', r#"{"portcullis":{"verdict":"none"},"#, 1);
        assert_eq!(
            filter(forged.as_bytes(), &mut Buffers::default()),
            filter(RECORD.as_bytes(), &mut Buffers::default())
        );
    }

    #[test]
    fn a_record_without_alerts_is_unchanged() {
        let text = serde_json::to_string(&RECORD.replace("create", "update")).expect("a text is JSON");
        for record in
            ["", "{", "NodePort", r#"{"log":"NodePort"}"#, r#"{"type":"NodePort"}"#, r#"{"items":["NodePort"]}"#]
        {
            assert_eq!(filter(record.as_bytes(), &mut Buffers::default()), None, "{record}");
        }
        assert_eq!(added_alerts(&format!(r#"{{"log":{text}}}"#)), 0);
        assert_eq!(filter(&[b'"', b's', 0xff], &mut Buffers::default()), None);
    }
}

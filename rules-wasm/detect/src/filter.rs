//! A record on its way through a log pipeline.

use portcullis_alert::{unannotated, with_alerts};

use crate::{Buffers, detect_inside, may_match};

/// The record with its alerts, if it has some.
///
/// A record may come by a second time, with what was said the first time: its alerts are the same. Log shippers put what they read
/// into a text or an object of their own: if the record itself is nobody's audit event, all are judged that are in it.
#[must_use]
pub fn filter(record: &[u8], buffers: &mut Buffers) -> Option<String> {
    if !may_match(record) {
        return None;
    }
    let text = std::str::from_utf8(record).ok()?;
    let alerts = detect_inside(record, buffers).ok().filter(|alerts| !alerts.is_empty())?;
    with_alerts(unannotated(text)?, &alerts)
}

#[cfg(test)]
mod tests {
    use super::*;

    const RECORD: &str = r#"{"kind":"Event","apiVersion":"audit.k8s.io/v1","verb":"create","user":{"username":"ada"},"objectRef":{"resource":"services","name":"web"},"requestObject":{"spec":{"type":"NodePort"}}}"#;

    /// How many alerts the record says that it has, and whether it is else as it came.
    fn found(record: &str) -> usize {
        let Some(filtered) = filter(record.as_bytes(), &mut Buffers::default()) else { return 0 };
        assert!(filtered.starts_with(record.strip_suffix('}').expect("an object")), "{filtered}");
        filtered.matches("\"alert_id\"").count()
    }

    #[test]
    fn records_are_found_where_log_shippers_put_them() {
        let text = serde_json::to_string(RECORD).expect("JSON");
        assert_eq!(found(RECORD), 1);
        assert_eq!(found(&format!(r#"{{"stream":"stdout","log":{text}}}"#)), 1);
        assert_eq!(found(&format!(r#"{{"message":{text},"items":5}}"#)), 1);
        assert_eq!(found(&format!(r#"{{"log":{RECORD}}}"#)), 1);
        let list = format!(r#"{{"kind":"EventList","items":[{RECORD},5,{{}},{RECORD}]}}"#);
        assert_eq!(found(&list), 2);
        assert_eq!(found(&format!(r#"{{"message":{list}}}"#)), 2);
    }

    #[test]
    fn a_second_time_changes_nothing() {
        let once = filter(RECORD.as_bytes(), &mut Buffers::default()).expect("a match");
        assert_eq!(filter(once.as_bytes(), &mut Buffers::default()), Some(once));
        let forged = RECORD.replacen('{', r#"{"portcullis":{"verdict":"none"},"#, 1);
        assert_eq!(
            filter(forged.as_bytes(), &mut Buffers::default()),
            filter(RECORD.as_bytes(), &mut Buffers::default())
        );
    }

    #[test]
    fn what_has_no_alert_stays_as_it_came() {
        let text = serde_json::to_string(&RECORD.replace("create", "update")).expect("JSON");
        for record in
            ["", "{", "NodePort", r#"{"log":"NodePort"}"#, r#"{"type":"NodePort"}"#, r#"{"items":["NodePort"]}"#]
        {
            assert_eq!(filter(record.as_bytes(), &mut Buffers::default()), None, "{record}");
        }
        assert_eq!(found(&format!(r#"{{"log":{text}}}"#)), 0);
        assert_eq!(filter(&[b'"', b's', 0xff], &mut Buffers::default()), None);
    }
}

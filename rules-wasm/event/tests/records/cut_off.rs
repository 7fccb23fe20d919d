//! Records whose end is missing.

use portcullis_event::{Buffers, Outcome, normalize};
use serde_json::{Value, json};

use super::support::{eks, event_of, outcome};

/// Exactly the members after the cut are absent.
#[test]
fn a_cut_off_record_is_evaluated_on_its_complete_part() {
    let whole = eks(json!({"responseObject": {"metadata": {"name": "web"}}})).to_string();
    let expected = event_of(&eks(json!({})));
    let mut found = 0;
    for at in 1..whole.len() {
        let azure = json!({"category": "kube-audit", "properties": {"log": &whole[..at]}}).to_string();
        let log_type = json!({"p_log_type": "Amazon.EKS.Audit"}).to_string();
        let cut = format!("{},{}", log_type.trim_end_matches('}'), &whole[1..at]);
        for (text, prefix) in [(&azure, "properties.log."), (&cut, "")] {
            let mut buffers = Buffers::default();
            let Outcome::Evaluated(event) = normalize(text.as_bytes(), &mut buffers) else { continue };
            found += 1;
            assert_eq!(event.malformed, ["cut off"], "{prefix}{}", &whole[..at]);
            let event = serde_json::to_value(&event).expect("JSON");
            for (name, value) in event.as_object().expect("an object") {
                let is_part = match (value, &expected[name]) {
                    (Value::Array(part), Value::Array(whole)) => whole.starts_with(part),
                    (part, whole) => part == whole,
                };
                let own = ["logType", "malformed", "requestObject", "sourceScope", "cluster", "asn", "responseStatus"];
                assert!(is_part || own.contains(&&**name), "{name}: {value} of {}", expected[name]);
            }
        }
    }
    assert!(found > whole.len(), "{found} of {}", whole.len());
    for (text, reason) in [
        (r#"{"category":"kube-audit","properties":{"log":"{\"unknown\":1,\"aud"}}"#, "cut off"),
        (r#"{"unknown":1,"aud"#, "cut off"),
        (r#"{"a":nul"#, "cut off"),
    ] {
        assert!(outcome(text.as_bytes()).expect_err(text).contains(reason), "{text}");
    }
    let marked = format!("{}[Truncated...]", &whole[..whole.find("objectRef").expect("a member")]);
    assert_eq!(outcome(marked.as_bytes()).expect("evaluated")["malformed"], json!(["cut off"]));
}

/// If a record contains its event as text and is cut there, only the text's beginning is left.
#[test]
fn a_record_that_is_cut_off_in_the_text_of_its_event_is_evaluated() {
    let whole = json!({"category": "kube-audit", "properties": {"log": eks(json!({})).to_string()}}).to_string();
    let cut = &whole[..whole.find("userAgent").expect("a member")];
    let mut buffers = Buffers::default();
    let Outcome::Evaluated(event) = normalize(cut.as_bytes(), &mut buffers) else { panic!("not evaluated") };
    assert_eq!((event.username.as_deref(), &*event.malformed), (Some("ada"), &["cut off".into()][..]));
}

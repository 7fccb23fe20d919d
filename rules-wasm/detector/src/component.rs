//! The exported function and its types.

use portcullis_alert::{Alert, Severity as AlertSeverity};
use portcullis_detect::{Buffers, NotEvaluated, Rejected};

use bindings::exports::portcullis::detection::records::{DetectError, Finding, Guest, Severity};

/// Bindings that wit-bindgen generates from `wit/detector.wit`.
#[expect(clippy::same_length_and_capacity, reason = "generated")]
mod bindings {
    wit_bindgen::generate!({ world: "detector", path: "../../wit", default_bindings_module: "crate::component::bindings" });
}

struct Detector;

bindings::export!(Detector with_types_in bindings);

impl Guest for Detector {
    fn detect(record_json: String) -> Result<Vec<Finding>, DetectError> {
        match portcullis_detect::detect(record_json.as_bytes(), &mut Buffers::default()) {
            Ok(alerts) => Ok(alerts.into_iter().map(finding).collect()),
            Err(NotEvaluated::Ignored(ignored)) => Err(DetectError::Ignored(ignored.to_string())),
            Err(NotEvaluated::Envelope(list)) => Err(DetectError::Wrapping(list.to_owned())),
            Err(NotEvaluated::Rejected(rejected)) => Err(match rejected {
                Rejected::Empty => DetectError::Empty,
                Rejected::NotAnObject => DetectError::NotAnObject,
                Rejected::NoAuditEvent(what) => DetectError::NoAuditEvent(what),
                Rejected::NotJson(message) => DetectError::NotJson(message),
                // These have no case of their own in the WIT. Most never occur here, because the record is a string and
                // has no length limit.
                Rejected::NotUtf8 { .. }
                | Rejected::Utf16
                | Rejected::CutOff
                | Rejected::Tangled
                | Rejected::TooLong { .. } => DetectError::NotJson(rejected.to_string()),
            }),
        }
    }
}

fn finding(alert: Alert) -> Finding {
    let about = &*alert.about;
    Finding {
        context: alert.context.as_str().to_owned(),
        alert_id: alert.alert_id,
        incident_id: alert.incident_id,
        rule_id: about.rule_id.clone(),
        rule_version: about.rule_version.clone(),
        severity: match alert.severity {
            AlertSeverity::Info => Severity::Info,
            AlertSeverity::Low => Severity::Low,
            AlertSeverity::Medium => Severity::Medium,
            AlertSeverity::High => Severity::High,
            AlertSeverity::Critical => Severity::Critical,
        },
        title: alert.title,
        dedup: alert.dedup,
        dedup_period_minutes: about.dedup_period_minutes,
        log_type: alert.log_type.to_owned(),
        cluster: alert.cluster,
        event_time: alert.event_time,
        audit_id: alert.audit_id,
        mitre: about.mitre.to_vec(),
        reference: (*about.reference).clone(),
        runbook: (*about.runbook).clone(),
        tags: about.tags.to_vec(),
    }
}

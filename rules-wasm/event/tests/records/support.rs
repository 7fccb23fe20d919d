//! Records, and their outcomes as JSON.

use portcullis_event::{Buffers, Outcome, normalize};
use serde_json::{Value, json};

/// Returns the event of a record as JSON, or `ignored: …` or `rejected: …`.
pub(super) fn outcome(record: &[u8]) -> Result<Value, String> {
    match normalize(record, &mut Buffers::default()) {
        Outcome::Evaluated(event) => Ok(serde_json::to_value(&event).expect("an event is JSON")),
        Outcome::Ignored(ignored) => Err(format!("ignored: {ignored}")),
        Outcome::Rejected(rejected) => Err(format!("rejected: {rejected}")),
    }
}

pub(super) fn event_of(record: &Value) -> Value {
    outcome(record.to_string().as_bytes()).expect("the record is evaluated")
}

/// Returns an EKS record in which these members are changed.
#[expect(clippy::needless_pass_by_value, reason = "callers pass json! without a reference")]
pub(super) fn eks(change: Value) -> Value {
    let mut record = json!({
        "kind": "Event",
        "apiVersion": "audit.k8s.io/v1",
        "auditID": "id-1",
        "stage": "ResponseComplete",
        "requestURI": "/api/v1/namespaces/prod/services",
        "verb": "create",
        "user": {"username": "ada", "groups": ["g1", "g2"], "extra": {"arn": ["arn:aws:iam::1:user/ada", "other"]}},
        "sourceIPs": ["1.2.3.4", "8.8.8.8"],
        "userAgent": "kubectl",
        "objectRef": {"resource": "services", "subresource": "status", "apiGroup": "g", "namespace": "prod", "name": "web"},
        "responseStatus": {"code": 201},
        "requestObject": {"spec": {"type": "NodePort"}},
        "requestReceivedTimestamp": "2026-01-02T03:04:05.000006Z",
        "p_source_label": "eks-1",
        "p_enrichment": {"ipinfo_asn": {"SourceIps": {"asn": "AS1", "name": "One", "p_match": "1.2.3.4"}}},
    });
    for (key, value) in change.as_object().expect("an object") {
        record[key] = value.clone();
    }
    record
}

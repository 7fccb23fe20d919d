//! Records that no rule sees, or that a rule is blind to.

use serde_json::{Value, json};

/// A record that no rule is blind to, and none matches.
pub(crate) const EVENT: &str = r#"{"kind":"Event","apiVersion":"audit.k8s.io/v1","verb":"get"}"#;

/// What is no audit event, and says nothing of any.
pub(crate) const OTHER: &str = r#"{"message":"hello"}"#;

pub(crate) const SUSPECT: &str = r#"{"auditID":"a-1","spoke":"audit.k8s.io/v1"}"#;

/// A service that was created, as an audit policy at level Metadata has it recorded, with these members changed.
pub(crate) fn created(change: &Value) -> String {
    let mut record = json!({
        "kind": "Event", "apiVersion": "audit.k8s.io/v1", "level": "Metadata", "auditID": "b-1", "stage": "ResponseComplete",
        "requestURI": "/api/v1/namespaces/prod/services?fieldManager=kubectl", "verb": "create",
        "user": {"username": "ada"}, "objectRef": {"resource": "services", "namespace": "prod", "name": "web"},
        "responseStatus": {"code": 201},
    });
    for (key, value) in change.as_object().expect("an object") {
        record[key] = value.clone();
    }
    record.to_string()
}

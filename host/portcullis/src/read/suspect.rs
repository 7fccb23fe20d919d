//! Finds ignored records whose text mentions Kubernetes audit logs.

use memchr::memmem;
use portcullis_event::Ignored;

/// Texts in or next to an audit event, in all forms in which it can be nested in text. A slash may be escaped.
const MARKERS: [(&str, &str); 3] =
    [("audit.k8s.io/", "audit.k8s.io/"), ("audit.k8s.io\\/", "audit.k8s.io/"), ("kube-audit", "kube-audit")];

/// The member with the service in Google's audit logs, and its value for Kubernetes.
const SERVICE: &str = "serviceName";
const KUBERNETES: &str = "k8s.io";

/// Returns the reason, as that of a suspect record if the text contains a marker.
pub(super) fn suspect(bytes: &[u8], ignored: Ignored) -> Ignored {
    match marker(bytes) {
        Some(marker) if !ignored.is_suspect() => Ignored::Suspect { reason: Box::new(ignored), marker },
        _ => ignored,
    }
}

fn marker(bytes: &[u8]) -> Option<&'static str> {
    let has = |text: &str| memmem::find(bytes, text.as_bytes()).is_some();
    let marker = MARKERS.iter().find(|(text, _)| has(text)).map(|(_, marker)| *marker);
    marker.or_else(|| names_the_service(bytes).then_some("serviceName k8s.io"))
}

/// Returns whether the text contains the service name of Kubernetes, as JSON or nested in texts to any depth. The bytes
/// between name and value cannot contain the name, so no byte is searched twice.
fn names_the_service(bytes: &[u8]) -> bool {
    memmem::find_iter(bytes, SERVICE).any(|at| {
        let behind = &bytes[at + SERVICE.len()..];
        let is_between = |byte: &u8| matches!(byte, b'"' | b'\\' | b':' | b' ' | b'\t' | b'\r' | b'\n');
        let between = behind.iter().take_while(|byte| is_between(byte)).count();
        let value = behind[between..].strip_prefix(KUBERNETES.as_bytes());
        between > 0 && value.is_some_and(|end| matches!(end.first(), Some(b'"' | b'\\')))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_marker_is_found_at_any_depth_of_text() {
        for (text, expected) in [
            (r#"{"a":"audit.k8s.io/v1"}"#, Some("audit.k8s.io/")),
            (r#"{"a":"audit.k8s.io\/v1"}"#, Some("audit.k8s.io/")),
            (r#"{"a":"{\"apiVersion\":\"audit.k8s.io/v1beta1\"}"}"#, Some("audit.k8s.io/")),
            (r#"{"Category":"kube-audit-admin"}"#, Some("kube-audit")),
            (r#"{"serviceName":"k8s.io"}"#, Some("serviceName k8s.io")),
            ("{\"serviceName\" :\r\n\t\"k8s.io\"}", Some("serviceName k8s.io")),
            (r#"{"a":"{\"serviceName\": \"k8s.io\"}"}"#, Some("serviceName k8s.io")),
            (r#"{"a":"{\\\"serviceName\\\":\\\"k8s.io\\\"}"}"#, Some("serviceName k8s.io")),
            (r#"{"serviceName":"a","b":{"serviceName":"k8s.io"}}"#, Some("serviceName k8s.io")),
            (r#"{"serviceName":"k8s.io.example.com"}"#, None),
            (r#"{"serviceName":"storage.googleapis.com","b":"k8s.io"}"#, None),
            (r#"{"serviceNamek8s.io":""}"#, None),
            (r#"{"a":"rbac.authorization.k8s.io/v1"}"#, None),
            ("", None),
            (r#"{"serviceName""#, None),
            (r#"{"serviceName":"k8s.io"#, None),
        ] {
            assert_eq!(marker(text.as_bytes()), expected, "{text}");
        }
    }

    #[test]
    fn the_reason_stays_and_is_given_once() {
        let first = suspect(b"kube-audit", Ignored::Category(None));
        assert_eq!(first, Ignored::Suspect { reason: Box::new(Ignored::Category(None)), marker: "kube-audit" });
        assert_eq!(suspect(b"kube-audit", first.clone()), first);
        assert_eq!(suspect(b"{}", Ignored::Shape), Ignored::Shape);
    }
}

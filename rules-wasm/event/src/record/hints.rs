//! Hints for operators: what a text that is not an audit event probably is, and what to do about it.

use crate::json::{Names, Value, text_of};

/// Whether bytes are UTF-16: they begin with its byte order mark, or every second one of the first bytes is zero.
#[cold]
pub(crate) fn is_utf16(bytes: &[u8]) -> bool {
    if bytes.starts_with(b"\xff\xfe") || bytes.starts_with(b"\xfe\xff") {
        return true;
    }
    // If lines were split at the byte of a line feed, its other byte begins the next line. So either byte may be the
    // zero.
    let start = &bytes[..bytes.len().min(32)];
    let zeros = |first: usize| start.iter().skip(first).step_by(2).filter(|byte| **byte == 0).count();
    // After the last line feed only its other byte is left.
    bytes == b"\0" || start.len() >= 4 && (zeros(0) * 2 >= start.len() - 1 || zeros(1) * 2 >= start.len() - 1)
}

/// Returns what a text that is not JSON looks like, and what to do about it.
#[cold]
pub(crate) fn of(text: &str) -> Option<&'static str> {
    let text = text.trim_ascii_start();
    if is_cri(text) {
        return Some(
            "this is a container runtime's line (CRI) without a whole record: a runtime splits lines of more than 16 KiB; have \
             your log shipper join them (Fluent Bit: multiline.parser cri) or read the API server's own audit log",
        );
    }
    let is_yaml = text == "---"
        || text.lines().next().is_some_and(|line| {
            let line = line.strip_prefix("- ").unwrap_or(line);
            let name = |name: &str| {
                !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-./".contains(&byte))
            };
            match line.split_once(':') {
                Some((before, behind)) => name(before) && (behind.is_empty() || behind.starts_with(' ')),
                None => false,
            }
        });
    is_yaml.then_some("this looks like YAML: write it as JSON, for instance with yq -o json")
}

/// Whether a container runtime wrote a line: it has a time, a stream, and a tag for a full line (`F`) or a part (`P`).
/// Source: Kubernetes, `pkg/kubelet/kuberuntime/logs`, format of CRI logs.
fn is_cri(line: &str) -> bool {
    let mut words = line.splitn(4, ' ');
    words.next().is_some_and(|time| time.starts_with(|c: char| c.is_ascii_digit()) && time.contains('T'))
        && matches!(words.next(), Some("stdout" | "stderr"))
        && words.next().is_some_and(|tags| tags.split(':').any(|tag| tag == "F" || tag == "P"))
}

/// Returns the name of another service that an object is a record of, recognized by members that its records have.
#[cold]
pub(crate) fn other_record(object: Value<'_, '_>) -> Option<&'static str> {
    const KINDS: [(&str, [&str; 3]); 5] = [
        ("AWS CloudTrail", ["eventVersion", "eventSource", "eventName"]),
        ("AWS GuardDuty", ["schemaVersion", "accountId", "service"]),
        ("Amazon VPC flow logs", ["srcaddr", "dstaddr", "action"]),
        ("Azure Active Directory", ["operationName", "tenantId", "identity"]),
        ("Kubernetes events, which are not audit events", ["involvedObject", "reason", "metadata"]),
    ];
    let is =
        |names: [&str; 3]| object.named(&Names::new(names)).is_some_and(|members| members.iter().all(Option::is_some));
    let of_aws = |name: &str| {
        // The events that AWS passes to functions have an `eventSource` too, such as aws:kinesis. They are envelopes.
        let source = object.named(&const { Names::new(["eventSource"]) }).and_then(|[source]| text_of(source));
        name != KINDS[0].0 || source.is_some_and(|source| source.ends_with(".amazonaws.com"))
    };
    KINDS.into_iter().find_map(|(name, members)| (is(members) && of_aws(name)).then_some(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_that_is_not_json_is_recognized_by_its_beginning() {
        for line in ["2026-11-18T09:00:00.3Z stdout P {\"kind\":", "2026-11-18T09:00:00.3+01:00 stderr F text"] {
            assert!(of(line).expect(line).contains("CRI"), "{line}");
        }
        for line in ["---", "apiVersion: audit.k8s.io/v1", "- kind: Event", "items:"] {
            assert!(of(line).expect(line).contains("YAML"), "{line}");
        }
        for line in ["", "{", "some words: and more", "http://example.com", "2026-11-18 stdout"] {
            assert_eq!(of(line), None, "{line}");
        }
    }

    #[test]
    fn utf16_is_recognized_with_and_without_its_mark() {
        let text = "{\"kind\":\"Event\"}";
        let little: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
        let big: Vec<u8> = text.encode_utf16().flat_map(u16::to_be_bytes).collect();
        for bytes in [&little, &big, &[&[0], &*little].concat(), &[&b"\xff\xfe"[..], &little].concat()] {
            assert!(is_utf16(bytes), "{bytes:?}");
        }
        for bytes in [text.as_bytes(), b"", b"a\0b"] {
            assert!(!is_utf16(bytes), "{bytes:?}");
        }
    }
}

//! How Amazon's CloudWatch Logs wraps what it took from an EKS control plane.

use jiff::Timestamp;
use jiff::civil::DateTime;
use portcullis_event::Ignored;
use portcullis_event::json;

/// The log streams of a control plane that are not the audit log's, by the beginning of their names. Their lines are no
/// JSON. Source: Amazon EKS User Guide, "Send control plane logs to CloudWatch Logs".
const OTHER_STREAMS: [&str; 5] =
    ["kube-apiserver-", "authenticator-", "kube-controller-manager-", "kube-scheduler-", "cloud-controller-manager-"];

/// Whether a subscription's document, or an event of the API's, has no audit events in it: it is a probe of the subscription,
/// or of another stream.
pub(super) fn other_stream(document: &str) -> Option<Ignored> {
    let names = ["messageType", "logStream", "logStreamName"];
    let [message_type, log_stream, log_stream_name] = json::members(document, names).ok()?;
    if json::text(message_type).present().is_some_and(|kind| kind == "CONTROL_MESSAGE") {
        return Some(Ignored::Shape);
    }
    let stream = json::text(log_stream).present().or(json::text(log_stream_name).present())?;
    let other = OTHER_STREAMS.iter().any(|other| stream.starts_with(other));
    (other && !stream.starts_with("kube-apiserver-audit-")).then_some(Ignored::Shape)
}

/// The event of an exported line, behind a timestamp and a space; `aws logs tail` has the stream's name between the two.
pub(super) fn behind_timestamp(line: &[u8]) -> Option<&[u8]> {
    let text = std::str::from_utf8(line).ok()?;
    let (timestamp, rest) = text.trim_ascii_start().split_once(' ')?;
    // With its offset, or as `aws logs tail --format short` has it, without.
    if timestamp.parse::<Timestamp>().is_err() && timestamp.parse::<DateTime>().is_err() {
        return None;
    }
    let rest = rest.trim_ascii_start();
    let event = match rest.split_once(' ') {
        Some((stream, event)) if !stream.starts_with('{') => event.trim_ascii_start(),
        _ => rest,
    };
    event.starts_with('{').then_some(event.as_bytes())
}

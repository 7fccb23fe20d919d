//! Checks the answers of untrusted rules before they become alerts.

use std::io;

use portcullis_alert::{Answer as Checked, ContextText, Severity};
use serde::Serialize;

use super::{Answer, AnswerSeverity, Fault};

/// Returns the answer if it can become an alert. Title, dedup and context together have at most `limit` bytes as JSON.
pub(crate) fn checked(answer: Answer, limit: usize) -> Result<Checked, Fault> {
    let Answer { title, dedup, severity, context } = answer;
    let context = ContextText::new(&context)
        .map_err(|error| Fault::Answer(format!("answered with a context that is not a JSON object: {error}")))?;
    if title.trim().is_empty() {
        return Err(Fault::Answer("answered with an empty title".to_owned()));
    }
    let length = json_length(&(&title, &dedup)) + ",".len() + context.as_str().len();
    if length > limit {
        return Err(Fault::Answer(format!("answered with an alert of {length} bytes, more than its limit of {limit}")));
    }
    let severity = severity.map(|severity| match severity {
        AnswerSeverity::Info => Severity::Info,
        AnswerSeverity::Low => Severity::Low,
        AnswerSeverity::Medium => Severity::Medium,
        AnswerSeverity::High => Severity::High,
        AnswerSeverity::Critical => Severity::Critical,
    });
    Ok(Checked { title, dedup, severity, context })
}

/// Returns the length of a value as JSON, in bytes, without writing it.
pub fn json_length(value: &impl Serialize) -> usize {
    struct Count(usize);

    impl io::Write for Count {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0 += bytes.len();
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    let mut count = Count(0);
    serde_json::to_writer(&mut count, value).map_or(usize::MAX, |()| count.0)
}

//! The rules: their functions, and what their specs say.

use nodeport_service::NodePortService;
use portcullis_alert::{About, Answer, Severity, compact_json, readable_context};
use portcullis_event::Event;
use portcullis_rule::{Alert, Exported, Severity as OfRule};
use serde_json::value::RawValue;
use system_principal_public_ip::SystemPrincipalPublicIp;

include!(concat!(env!("OUT_DIR"), "/specs.rs"));

/// All of them, by id.
pub(crate) static RULES: [Rule; 2] =
    [Rule::new::<NodePortService>(NODEPORT_SERVICE), Rule::new::<SystemPrincipalPublicIp>(SYSTEM_PRINCIPAL_PUBLIC_IP)];

/// What a spec says about events and alerts.
struct Spec {
    rule_id: &'static str,
    log_types: &'static [&'static str],
    severity: Severity,
    dedup_period_minutes: u32,
    mitre: &'static [&'static str],
    reference: Option<&'static str>,
    runbook: Option<&'static str>,
    tags: &'static [&'static str],
}

/// A context as its text.
pub type Context = Box<RawValue>;

fn context(json: &str) -> Context {
    // What the SDK has written is an object.
    let readable = readable_context(json).unwrap_or_default();
    // Values that rules take out of a record have the record's white space, and an alert is to be one line.
    let line = String::from_utf8(compact_json(readable.as_bytes())).unwrap_or_default();
    RawValue::from_string(line).unwrap_or_else(|_| RawValue::NULL.to_owned())
}

/// A rule that is called as a function.
pub(crate) struct Rule {
    spec: Spec,
    version: &'static str,
    pub(crate) prefilter: &'static [(&'static str, &'static [&'static str])],
    evaluate: fn(&Event<'_>) -> Option<Alert>,
}

impl Rule {
    const fn new<R: Exported>(spec: Spec) -> Self {
        Self { spec, version: R::VERSION, prefilter: R::PREFILTER, evaluate: R::evaluate }
    }

    /// What it says of an event.
    pub(crate) fn evaluate(&self, event: &Event<'_>) -> Option<Answer<Context>> {
        let subscribes = self.spec.log_types.contains(&event.log_type.as_str());
        let alert = subscribes.then(|| (self.evaluate)(event)).flatten()?;
        Some(Answer {
            title: alert.title().to_owned(),
            dedup: alert.dedup().to_owned(),
            severity: alert.severity_override().map(|severity| match severity {
                OfRule::Info => Severity::Info,
                OfRule::Low => Severity::Low,
                OfRule::Medium => Severity::Medium,
                OfRule::High => Severity::High,
                OfRule::Critical => Severity::Critical,
            }),
            context: context(&alert.context()),
        })
    }

    /// What is said in all of its alerts.
    pub(crate) fn about(&self) -> About {
        let Spec { rule_id, severity, dedup_period_minutes, mitre, reference, runbook, tags, .. } = self.spec;
        let texts = |texts: &[&str]| texts.iter().map(ToString::to_string).collect();
        About {
            rule_id: rule_id.to_owned(),
            rule_version: self.version.to_owned(),
            severity,
            dedup_period_minutes,
            mitre: texts(mitre),
            reference: reference.map(ToOwned::to_owned),
            runbook: runbook.map(ToOwned::to_owned),
            tags: texts(tags),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_rule_is_left_out() {
        let folders = std::fs::read_dir("..").expect("the rules' folder").map(|entry| entry.expect("an entry").path());
        let mut specs: Vec<String> = folders
            .filter_map(|folder| std::fs::read_to_string(folder.join("rule.yml")).ok())
            .filter_map(|spec| spec.lines().find_map(|line| line.strip_prefix("RuleID:")).map(ToOwned::to_owned))
            .map(|id| id.trim().trim_matches('"').to_owned())
            .collect();
        specs.sort();
        assert_eq!(RULES.each_ref().map(|rule| rule.spec.rule_id.to_owned()), *specs, "in the order of their ids");
    }

    #[test]
    fn a_context_is_one_line_and_its_texts_are_as_they_were() {
        let written = "{\"a b\": [1,\r\n\t 2 ], \"c\" :\"d \\\" e\\\\\" , \"f\": \" \" }";
        assert_eq!(context(written).get(), r#"{"a b":[1,2],"c":"d \" e\\","f":" "}"#);
    }
}

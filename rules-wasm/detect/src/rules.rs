//! The rules as functions, with the properties from their specs.

use std::sync::{Arc, OnceLock};

use nodeport_service::NodePortService;
use portcullis_alert::{About, Answer, ContextText, Severity};
use portcullis_event::Event;
use portcullis_rule::{Alert, Exported, Severity as RuleSeverity};
use system_principal_public_ip::SystemPrincipalPublicIp;

include!(concat!(env!("OUT_DIR"), "/specs.rs"));

/// All rules, by id.
pub(crate) static RULES: [Rule; 2] =
    [Rule::new::<NodePortService>(NODEPORT_SERVICE), Rule::new::<SystemPrincipalPublicIp>(SYSTEM_PRINCIPAL_PUBLIC_IP)];

/// The keys of a spec that concern events and alerts.
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

/// A rule that is called as a function.
pub(crate) struct Rule {
    spec: Spec,
    version: &'static str,
    pub(crate) prefilter: &'static [(&'static str, &'static [&'static str])],
    evaluate: fn(&Event<'_>) -> Option<Alert>,
    about: OnceLock<Arc<About>>,
}

impl Rule {
    const fn new<R: Exported>(spec: Spec) -> Self {
        Self { spec, version: R::VERSION, prefilter: R::PREFILTER, evaluate: R::evaluate, about: OnceLock::new() }
    }

    /// Evaluates the rule on an event, if the rule subscribes to its log type.
    pub(crate) fn evaluate(&self, event: &Event<'_>) -> Option<Answer> {
        let subscribes = self.spec.log_types.contains(&event.log_type.as_str());
        let alert = subscribes.then(|| (self.evaluate)(event)).flatten()?;
        Some(Answer {
            title: alert.title().to_owned(),
            dedup: alert.dedup().to_owned(),
            severity: alert.severity_override().map(|severity| match severity {
                RuleSeverity::Info => Severity::Info,
                RuleSeverity::Low => Severity::Low,
                RuleSeverity::Medium => Severity::Medium,
                RuleSeverity::High => Severity::High,
                RuleSeverity::Critical => Severity::Critical,
            }),
            // The SDK writes an object, so this does not fail.
            context: ContextText::new(&alert.context()).ok()?,
        })
    }

    /// Returns the properties that all alerts of the rule share.
    pub(crate) fn about(&self) -> &Arc<About> {
        self.about.get_or_init(|| {
            let Spec { rule_id, severity, dedup_period_minutes, mitre, reference, runbook, tags, .. } = self.spec;
            let texts = |texts: &[&str]| texts.iter().map(ToString::to_string).collect::<Vec<_>>().into();
            Arc::new(About {
                rule_id: rule_id.to_owned(),
                rule_version: self.version.to_owned(),
                severity,
                dedup_period_minutes,
                mitre: texts(mitre),
                reference: reference.map(ToOwned::to_owned).into(),
                runbook: runbook.map(ToOwned::to_owned).into(),
                tags: texts(tags),
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_rule_is_included() {
        let folders = std::fs::read_dir("..")
            .expect("the rules' folder is readable")
            .map(|entry| entry.expect("its entries are readable").path());
        let mut specs: Vec<String> = folders
            .filter_map(|folder| std::fs::read_to_string(folder.join("rule.yml")).ok())
            .filter_map(|spec| spec.lines().find_map(|line| line.strip_prefix("RuleID:")).map(ToOwned::to_owned))
            .map(|id| id.trim().trim_matches('"').to_owned())
            .collect();
        specs.sort();
        assert_eq!(
            RULES.each_ref().map(|rule| rule.spec.rule_id.to_owned()),
            *specs,
            "every rule, ordered by id: add new rules to RULES in build.rs and in src/rules.rs"
        );
    }
}

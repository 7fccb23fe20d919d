//! A rule's spec: Panther's YAML, as published.

use std::collections::BTreeMap;

pub use portcullis_alert::Severity;
use portcullis_alert::is_deceptive;
use portcullis_event::LogType;
use serde::Deserialize;
use serde_json::Value;
use serde_saphyr::UserMessageFormatter;
use thiserror::Error;

use crate::limits::PackageLimits;

/// A rule's spec, with the names of Panther's rule schema.
#[derive(Clone, Debug)]
pub struct Spec {
    /// `RuleID`: identifies the rule everywhere.
    pub rule_id: String,
    /// `DisplayName`, else the id.
    pub display_name: String,
    /// `Enabled`: whether the rule runs. Its test cases always run.
    pub enabled: bool,
    /// `LogTypes`: the subscribed log types, without those that never contain Kubernetes audit events.
    pub log_types: Vec<LogType>,
    /// `Severity`.
    pub severity: Severity,
    /// `Description`.
    pub description: Option<String>,
    /// `Runbook`: instructions for responding to an alert.
    pub runbook: Option<String>,
    /// `Reference`: a link to more information.
    pub reference: Option<String>,
    /// `Status`: the maturity of the rule.
    pub status: Option<String>,
    /// `Tags`.
    pub tags: Vec<String>,
    /// `Reports`: the rule's entries in frameworks, by the framework's name.
    pub reports: BTreeMap<String, Vec<String>>,
    /// `DedupPeriodMinutes`; Panther's default is 60.
    pub dedup_period_minutes: u32,
    /// `Threshold`: number of matches that make an incident; Panther's default is 1.
    pub threshold: u32,
    /// `SummaryAttributes`: the fields that an incident summarizes.
    pub summary_attributes: Vec<String>,
    /// `Tests`.
    pub test_cases: Vec<TestCase>,
}

/// A test case of a spec.
#[derive(Clone, Debug)]
pub struct TestCase {
    /// `Name`.
    pub name: String,
    /// `ExpectedResult`: whether the record alerts.
    pub expected: bool,
    /// `Log`: the record, as JSON. Parsed, it could take thirty times the memory.
    pub record: Box<str>,
}

/// A spec that this host does not support.
#[derive(Debug, Error)]
pub enum SpecError {
    /// It is not UTF-8.
    #[error("it is not UTF-8")]
    NotUtf8,
    /// It is not YAML of Panther's rule schema; the message contains the line.
    #[error("{0}")]
    Yaml(String),
    /// It has a key of the schema that does not apply to components.
    #[error("{key} is not supported: {instead}")]
    Unsupported {
        /// The key.
        key: &'static str,
        /// The alternative.
        instead: &'static str,
    },
    /// It has a value that the schema does not allow.
    #[error("{0}")]
    Value(String),
}

/// Limit for `RuleID`, in bytes. A file's name can have 255.
const MAX_ID: usize = 150;

/// Limit for `Description` and for `Runbook`, in bytes. The published ones have less than a tenth of it.
const MAX_LONG: usize = 16 << 10;

/// Limit for the other texts of a spec, in bytes.
const MAX_SHORT: usize = 1_000;

/// Limit for the number of `Tags`, of `SummaryAttributes` and of entries in one of the `Reports`.
const MAX_ITEMS: usize = 100;

impl Spec {
    /// Parses a spec. All keys of Panther's rule schema are known; any other is an error.
    ///
    /// # Errors
    /// The YAML does not follow the schema, or has something that components do not support.
    pub fn from_yaml(yaml: &[u8]) -> Result<Self, SpecError> {
        let text = std::str::from_utf8(yaml).map_err(|_| SpecError::NotUtf8)?;
        // YAML 1.2, as Panther's own tool reads it: `no` is a text, not false.
        let options = serde_saphyr::options! {
            strict_booleans: true,
            with_snippet: false,
            // Aliases must not make the spec larger than the limit for specs, because its texts are part of every
            // alert.
            budget: serde_saphyr::budget! { max_total_scalar_bytes: 2 * PackageLimits::SPEC },
        };
        let message = |error: serde_saphyr::Error| error.render_with_formatter(&UserMessageFormatter);
        let yaml: Yaml =
            serde_saphyr::from_str_with_options(text, options).map_err(|error| SpecError::Yaml(message(error)))?;
        yaml.check()
    }

    /// Returns the MITRE ATT&CK techniques that the rule detects, such as `TA0001:T1190`.
    #[must_use]
    pub fn mitre(&self) -> &[String] {
        self.reports.get("MITRE ATT&CK").map_or(&[], Vec::as_slice)
    }
}

/// All keys of Panther's rule schema, including those of derived rules.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct Yaml {
    analysis_type: String,
    enabled: Option<bool>,
    #[serde(rename = "RuleID")]
    rule_id: String,
    filename: Option<String>,
    detection: Option<Value>,
    base_detection: Option<String>,
    log_types: Option<Vec<String>>,
    scheduled_queries: Option<Vec<String>>,
    severity: Option<Severity>,
    description: Option<String>,
    dedup_period_minutes: Option<u32>,
    inline_filters: Option<Value>,
    display_name: Option<String>,
    #[serde(rename = "OnlyUseBaseRiskScore")]
    _only_use_base_risk_score: Option<bool>,
    #[serde(rename = "OutputIds")]
    _output_ids: Option<Vec<String>>,
    #[serde(rename = "CreatedBy")]
    _created_by: Option<String>,
    reference: Option<String>,
    runbook: Option<String>,
    status: Option<String>,
    summary_attributes: Option<Vec<String>>,
    threshold: Option<u32>,
    tags: Option<Vec<String>>,
    reports: Option<BTreeMap<String, Vec<String>>>,
    tests: Option<Vec<YamlTest>>,
    dynamic_severities: Option<Value>,
    alert_title: Option<String>,
    alert_context: Option<Value>,
    group_by: Option<Value>,
    create_alert: Option<bool>,
    #[serde(rename = "BaseVersion")]
    _base_version: Option<u64>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct YamlTest {
    name: String,
    #[serde(rename = "LogType")]
    _log_type: Option<String>,
    expected_result: bool,
    #[serde(rename = "ExpectedDestinations")]
    _expected_destinations: Option<Vec<String>>,
    log: Value,
    mocks: Option<Vec<YamlMock>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct YamlMock {
    #[serde(rename = "objectName")]
    _object_name: String,
    #[serde(rename = "returnValue")]
    _return_value: Value,
}

impl Yaml {
    /// Checks the lengths of the texts that become part of each alert or finding.
    fn check_lengths(&self) -> Result<(), SpecError> {
        let long = [("Description", &self.description), ("Runbook", &self.runbook)];
        let short = [("DisplayName", &self.display_name), ("Reference", &self.reference), ("Status", &self.status)];
        let texts = long.map(|(key, text)| (key, text, MAX_LONG)).into_iter();
        for (key, text, most) in texts.chain(short.map(|(key, text)| (key, text, MAX_SHORT))) {
            let length = text.as_ref().map_or(0, String::len);
            if length > most {
                return Err(SpecError::Value(format!(
                    "{key} has {length} bytes; the limit is {most}, because each alert contains it"
                )));
            }
        }
        let reports = self.reports.iter().flatten().map(|(_, entries)| ("Reports", entries));
        let lists = [("Tags", &self.tags), ("SummaryAttributes", &self.summary_attributes)];
        let lists = lists.into_iter().filter_map(|(key, list)| Some((key, list.as_ref()?)));
        for (key, list) in lists.chain(reports) {
            let longest = list.iter().map(String::len).max().unwrap_or(0);
            if list.len() > MAX_ITEMS || longest > MAX_SHORT {
                return Err(SpecError::Value(format!(
                    "{key} has {} entries of at most {longest} bytes; the limits are {MAX_ITEMS} and {MAX_SHORT}, \
                     because each alert contains them",
                    list.len()
                )));
            }
        }
        Ok(())
    }

    fn check(self) -> Result<Spec, SpecError> {
        const IN_THE_COMPONENT: &str = "the detection is in the component; write it there and remove the key";
        let value = |what: &str| SpecError::Value(what.to_owned());
        let has_mocks =
            self.tests.iter().flatten().any(|test| test.mocks.as_ref().is_some_and(|mocks| !mocks.is_empty()));
        let unsupported = [
            ("Detection", self.detection.is_some(), IN_THE_COMPONENT),
            ("DynamicSeverities", self.dynamic_severities.is_some(), IN_THE_COMPONENT),
            ("AlertTitle", self.alert_title.is_some(), IN_THE_COMPONENT),
            ("AlertContext", self.alert_context.is_some(), IN_THE_COMPONENT),
            ("GroupBy", self.group_by.is_some(), IN_THE_COMPONENT),
            ("InlineFilters", self.inline_filters.is_some(), IN_THE_COMPONENT),
            ("Mocks", has_mocks, "a component calls nothing that could be mocked; write the test case without them"),
            ("BaseDetection", self.base_detection.is_some(), "a package contains one complete rule"),
            ("ScheduledQueries", self.scheduled_queries.is_some(), "a rule subscribes to events with LogTypes"),
            (
                "CreateAlert: false",
                self.create_alert == Some(false),
                "every match is an alert; to stop it, set Enabled: false",
            ),
        ];
        if let Some((key, _, instead)) = unsupported.into_iter().find(|(_, present, _)| *present) {
            return Err(SpecError::Unsupported { key, instead });
        }
        if self.analysis_type != "rule" {
            return Err(SpecError::Value(format!("AnalysisType is {:?}; expected rule", self.analysis_type)));
        }
        // Panther forbids the first five; the others cannot be in a file's name.
        let forbidden = |c: char| "<>&\"%/\\".contains(c) || is_deceptive(c);
        if self.rule_id.len() > MAX_ID {
            return Err(SpecError::Value(format!(
                "RuleID has {} bytes; the limit is {MAX_ID}, because each line of the ledger contains it",
                self.rule_id.len()
            )));
        }
        if self.rule_id.is_empty() || self.rule_id.starts_with('.') || self.rule_id.contains(forbidden) {
            return Err(SpecError::Value(format!(
                "RuleID {:?} is empty, begins with a dot, or contains one of <>&\"%/\\ or a character that cannot be seen",
                self.rule_id
            )));
        }
        self.check_lengths()?;
        self.filename.ok_or_else(|| value("Filename is missing"))?;
        let log_types = self.log_types.ok_or_else(|| value("LogTypes is missing"))?;
        let known: Vec<LogType> =
            LogType::ALL.into_iter().filter(|known| log_types.iter().any(|name| name == known.as_str())).collect();
        if known.is_empty() {
            let names = LogType::ALL.map(LogType::as_str).join(", ");
            return Err(SpecError::Value(format!(
                "LogTypes has no log type for Kubernetes audit logs; expected one of {names}"
            )));
        }
        if self.threshold == Some(0) {
            return Err(value("Threshold is 0; expected at least 1"));
        }
        Ok(Spec {
            display_name: self.display_name.unwrap_or_else(|| self.rule_id.clone()),
            rule_id: self.rule_id,
            enabled: self.enabled.ok_or_else(|| value("Enabled is missing"))?,
            log_types: known,
            severity: self.severity.ok_or_else(|| value("Severity is missing"))?,
            description: self.description,
            runbook: self.runbook,
            reference: self.reference,
            status: self.status,
            tags: self.tags.unwrap_or_default(),
            reports: self.reports.unwrap_or_default(),
            dedup_period_minutes: self.dedup_period_minutes.unwrap_or(60),
            threshold: self.threshold.unwrap_or(1),
            summary_attributes: self.summary_attributes.unwrap_or_default(),
            test_cases: self
                .tests
                .unwrap_or_default()
                .into_iter()
                .map(|test| TestCase {
                    name: test.name,
                    expected: test.expected_result,
                    record: test.log.to_string().into(),
                })
                .collect(),
        })
    }
}

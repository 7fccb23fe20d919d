//! What all alerts of one version of a rule share.

use std::ops::Deref;

use serde::{Serialize, Serializer};
use serde_json::value::{RawValue, to_raw_value};

use crate::Severity;

/// The properties that all alerts of one version of a rule share. Most come from its spec.
#[derive(Clone, Debug, PartialEq)]
pub struct About {
    /// The rule's id.
    pub rule_id: String,
    /// The rule's version.
    pub rule_version: String,
    /// Severity of a match, unless the rule overrides it.
    pub severity: Severity,
    /// Length of the period in which alerts with equal dedup are one incident, in minutes.
    pub dedup_period_minutes: u32,
    /// MITRE ATT&CK techniques, as `TA0001:T1190`.
    pub mitre: Constant<Vec<String>>,
    /// URL of further information.
    pub reference: Constant<Option<String>>,
    /// Steps to investigate the alert.
    pub runbook: Constant<Option<String>>,
    /// The rule's tags.
    pub tags: Constant<Vec<String>>,
}

/// A value with its JSON, which is written once and then copied into each alert.
#[derive(Clone, Debug)]
pub struct Constant<T> {
    value: T,
    json: Box<RawValue>,
}

impl<T: Serialize> From<T> for Constant<T> {
    /// # Panics
    /// The value has no JSON. All texts and lists of texts have one.
    fn from(value: T) -> Self {
        let json = to_raw_value(&value).expect("texts have JSON");
        Self { value, json }
    }
}

impl<T> Deref for Constant<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T: PartialEq> PartialEq for Constant<T> {
    fn eq(&self, other: &Self) -> bool {
        self.value == other.value
    }
}

impl<T> Serialize for Constant<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.json.serialize(serializer)
    }
}

//! `[activation]` and `[tenants.activation]`.

use std::collections::BTreeMap;
use std::ops::Range;
use std::time::Duration;

use jiff::SignedDuration;
use serde::Deserialize;
use toml::Spanned;

use super::source::{ConfigError, Source};
use portcullis::activation::{Activate, Pin, Policy};
use portcullis::package::PublicKey;

/// The versions of rules that are wanted, the trusted keys, and how versions become active.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct ActivationTable {
    activate: Option<Spanned<String>>,
    shadow_events: Option<Spanned<u64>>,
    shadow_time: Option<Spanned<String>>,
    versions: Option<BTreeMap<String, Spanned<String>>>,
    trusted_keys: Option<Spanned<Vec<Spanned<String>>>>,
}

impl ActivationTable {
    /// Returns the place of `trusted-keys`, if the table has it.
    pub(super) fn trusted_keys(&self) -> Option<Range<usize>> {
        self.trusted_keys.as_ref().map(Spanned::span)
    }

    /// Returns the place of the first pin, if there is one.
    pub(super) fn pins(&self) -> Option<Range<usize>> {
        self.versions.iter().flatten().map(|(_, text)| text.span()).next()
    }

    /// Returns a policy, with the values that the table sets.
    pub(super) fn over(&self, base: &Policy, source: &Source) -> Result<Policy, ConfigError> {
        let mut policy = base.clone();
        if let Some(word) = &self.activate {
            let known = Activate::ALL.into_iter().find(|(name, _)| name == word.get_ref());
            let expected = || {
                let words = Activate::ALL.map(|(name, _)| format!("{name:?}")).join(", ");
                source.error_at(word.span(), format!("activate: {:?}: expected one of {words}", word.get_ref()))
            };
            policy.activate = known.ok_or_else(expected)?.1;
        }
        if let Some(events) = &self.shadow_events {
            if *events.get_ref() == 0 {
                return Err(source.error_at(events.span(), "shadow-events: expected a number of at least 1".to_owned()));
            }
            policy.shadow_events = *events.get_ref();
        }
        if let Some(time) = &self.shadow_time {
            let read = || Duration::try_from(time.get_ref().parse::<SignedDuration>().ok()?).ok();
            let expected = || "shadow-time: expected a duration such as \"10m\" or \"2h\"".to_owned();
            policy.shadow_time = Some(read().ok_or_else(|| source.error_at(time.span(), expected()))?);
        }
        for (rule_id, text) in self.versions.iter().flatten() {
            let pin: Result<Pin, _> = text.get_ref().parse();
            let pin = pin.map_err(|error| {
                let what = "expected a version such as \"1.2.0\", or a range such as \"^1.2\" or \">=1.2, <1.5\"";
                source.error_at(text.span(), format!("versions: {rule_id:?}: {:?}: {error}; {what}", text.get_ref()))
            })?;
            policy.versions.insert(rule_id.clone(), pin);
        }
        if let Some(keys) = &self.trusted_keys {
            let key = |text: &Spanned<String>| {
                let key: Result<PublicKey, _> = text.get_ref().parse();
                key.map_err(|error| source.error_at(text.span(), format!("trusted-keys: {error}, as keygen prints it")))
            };
            policy.trusted_keys = Some(keys.get_ref().iter().map(key).collect::<Result<_, _>>()?);
        }
        Ok(policy)
    }
}

/// Returns a policy, with the values that a text in the form of `[activation]` sets.
///
/// # Errors
/// The text is invalid. The error names the line.
pub(crate) fn policy_over(base: &Policy, text: &str) -> Result<Policy, String> {
    let source = Source::of_text(text);
    let table: Result<ActivationTable, _> = toml::from_str(text);
    let at = |line: Option<usize>, what: &str| format!("line {}: {what}", line.unwrap_or(1));
    let table = table.map_err(|error| {
        let line = error.span().map(|span| source.line(&span));
        at(line, error.message())
    })?;
    table.over(base, &source).map_err(|error| at(error.line, &error.what))
}

//! `[activation]` and `[tenants.activation]`.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::PathBuf;
use std::time::Duration;

use jiff::SignedDuration;
use serde::Deserialize;
use toml::Spanned;

use super::values::line_of;
use super::{Config, ConfigError};
use crate::activation::{Activate, Pin, Policy};
use crate::package::PublicKey;

/// Which versions of rules are wanted, from whom, and how they become active.
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
    /// Where `trusted-keys` stands, if it does.
    pub(super) fn trusted_keys(&self) -> Option<Range<usize>> {
        self.trusted_keys.as_ref().map(Spanned::span)
    }

    /// This policy, with what the table says in its place. `wrong` makes an error of a value that cannot be.
    pub(super) fn over(
        &self,
        base: &Policy,
        wrong: &dyn Fn(Range<usize>, String) -> ConfigError,
    ) -> Result<Policy, ConfigError> {
        let mut policy = base.clone();
        if let Some(word) = &self.activate {
            let known = Activate::ALL.into_iter().find(|(name, _)| name == word.get_ref());
            let expected = || {
                let words = Activate::ALL.map(|(name, _)| format!("{name:?}")).join(", ");
                wrong(word.span(), format!("activate: {:?}: expected one of {words}", word.get_ref()))
            };
            policy.activate = known.ok_or_else(expected)?.1;
        }
        if let Some(events) = &self.shadow_events {
            if *events.get_ref() == 0 {
                return Err(wrong(events.span(), "shadow-events: expected a number from 1".to_owned()));
            }
            policy.shadow_events = *events.get_ref();
        }
        if let Some(time) = &self.shadow_time {
            let read = || Duration::try_from(time.get_ref().parse::<SignedDuration>().ok()?).ok();
            let expected = || "shadow-time: expected a text such as \"10m\" or \"2h\"".to_owned();
            policy.shadow_time = Some(read().ok_or_else(|| wrong(time.span(), expected()))?);
        }
        for (rule_id, text) in self.versions.iter().flatten() {
            let pin: Result<Pin, _> = text.get_ref().parse();
            let pin = pin.map_err(|error| {
                let what = "expected a version such as \"1.2.0\", or a range such as \"^1.2\" or \">=1.2, <1.5\"";
                wrong(text.span(), format!("versions: {rule_id:?}: {:?}: {error}; {what}", text.get_ref()))
            })?;
            policy.versions.insert(rule_id.clone(), pin);
        }
        if let Some(keys) = &self.trusted_keys {
            let key = |text: &Spanned<String>| {
                let key: Result<PublicKey, _> = text.get_ref().parse();
                key.map_err(|error| wrong(text.span(), format!("trusted-keys: {error}, as keygen prints it")))
            };
            policy.trusted_keys = Some(keys.get_ref().iter().map(key).collect::<Result<_, _>>()?);
        }
        Ok(policy)
    }
}

/// A policy with what a text says in its place, which is what would stand in `[activation]`.
///
/// # Errors
/// It is no such text: the line, and what is wrong with it.
pub fn policy_over(base: &Policy, text: &str) -> Result<Policy, String> {
    let at = |span: Range<usize>, what: String| format!("line {}: {what}", line_of(text, &span));
    let wrong = |span, what| ConfigError { file: PathBuf::new(), line: None, what: at(span, what) };
    let table: ActivationTable =
        toml::from_str(text).map_err(|error| at(error.span().unwrap_or_default(), error.message().to_owned()))?;
    table.over(base, &wrong).map_err(|error| error.what)
}

impl Config {
    /// The policy of a tenant that has none of its own.
    ///
    /// # Errors
    /// Something has a value that cannot be.
    pub(super) fn policy(&self) -> Result<Policy, ConfigError> {
        let wrong = |span, what| self.error_at(span, what);
        let table = self.activation.as_ref().map(|table| table.over(&Policy::default(), &wrong));
        Ok(table.transpose()?.unwrap_or_default())
    }

    /// The error of a tenant that trusts keys and has the embedded rules, which nobody has signed.
    #[must_use]
    pub fn keys_without_rules(&self, tenant: &str) -> ConfigError {
        let own = self.tenants.iter().flatten().find(|table| table.name() == tenant);
        let own = own.and_then(|table| table.activation.as_ref()).and_then(ActivationTable::trusted_keys);
        let span = own.or_else(|| self.activation.as_ref().and_then(ActivationTable::trusted_keys)).unwrap_or_default();
        let what = format!(
            "trusted-keys: {tenant} has no packages that could be signed, only the rules that come with the program: name \
             packages with rules or --rules, or trust no keys"
        );
        self.error_at(span, what)
    }
}

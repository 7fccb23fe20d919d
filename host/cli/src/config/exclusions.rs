//! `[[exclusions]]` and `[[tenants.exclusions]]`.

use serde::Deserialize;
use serde_json::{Map, Value};
use toml::Spanned;
use toml::value::Datetime;

use super::source::{ConfigError, Source};
use super::values::{Texts, instant, network, wrong_texts};
use portcullis::package::Prefilter;
use portcullis::{Exclusion, RuleSet};

/// An exclusion. Its conditions have the names of the event's fields; `source_ip` is a list of networks.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct ExclusionTable {
    pub(super) rule: Spanned<String>,
    reason: Spanned<String>,
    expires: Option<Spanned<Datetime>>,
    #[serde(rename = "source_ip")]
    source_ip: Option<Spanned<Texts>>,
    username: Option<Spanned<Texts>>,
    namespace: Option<Spanned<Texts>>,
    cluster: Option<Spanned<Texts>>,
    name: Option<Spanned<Texts>>,
    resource: Option<Spanned<Texts>>,
    subresource: Option<Spanned<Texts>>,
    api_group: Option<Spanned<Texts>>,
    verb: Option<Spanned<Texts>>,
    user_agent: Option<Spanned<Texts>>,
    user_arn: Option<Spanned<Texts>>,
    #[serde(rename = "requestURI")]
    request_uri: Option<Spanned<Texts>>,
    service_type: Option<Spanned<Texts>>,
    log_type: Option<Spanned<Texts>>,
}

const EXPIRES: &str = "expires: expected a date such as 2027-01-31, which begins at midnight UTC, or a time with an offset \
     such as 2027-01-31T18:00:00Z";

impl ExclusionTable {
    /// Returns the exclusion. If `rules` is given, it must be for one of them.
    pub(super) fn exclusion(&self, source: &Source, rules: Option<&RuleSet>) -> Result<Exclusion, ConfigError> {
        let rule_id = self.rule.get_ref();
        if let Some(rules) = rules
            && !rules.packages().iter().any(|package| package.rule_id() == rule_id)
        {
            let ids: Vec<&str> = rules.packages().iter().map(portcullis::Package::rule_id).collect();
            let what = format!("rule: {rule_id:?} is not active; expected one of {}", ids.join(", "));
            return Err(source.error(&self.rule, what));
        }
        if self.reason.get_ref().trim().is_empty() {
            return Err(
                source.error(&self.reason, "reason: is empty; expected the reason for the exclusion".to_owned())
            );
        }
        let mut fields = Map::new();
        for (name, texts) in self.fields() {
            let Some(texts) = texts else { continue };
            if let Some(wrong) = wrong_texts(name, texts.get_ref()) {
                return Err(source.error(texts, format!("{name}: {wrong}")));
            }
            fields.insert(name.to_owned(), texts.get_ref().0.clone().into());
        }
        let source_networks = match &self.source_ip {
            None => Vec::new(),
            Some(texts) if texts.get_ref().0.is_empty() => {
                return Err(source
                    .error(texts, "source_ip: is an empty list; expected at least one address or network".to_owned()));
            }
            Some(texts) => {
                let network = |text: &String| network(text).map_err(|what| source.error(texts, what));
                texts.get_ref().0.iter().map(network).collect::<Result<_, _>>()?
            }
        };
        if fields.is_empty() && source_networks.is_empty() {
            let names: Vec<&str> = self.fields().iter().map(|(name, _)| *name).collect();
            let what = format!(
                "exclusions: would exclude every alert of {rule_id}; add at least one of source_ip, {}",
                names.join(", ")
            );
            return Err(source.error(&self.rule, what));
        }
        let fields = Prefilter::from_json(&Value::Object(fields))
            .map_err(|wrong| source.error(&self.rule, format!("exclusions: {wrong}")))?;
        let expires = self.expires.as_ref();
        let expires =
            expires.map(|at| instant(at.get_ref()).ok_or_else(|| source.error(at, EXPIRES.to_owned()))).transpose()?;
        let reason = self.reason.get_ref().as_str().into();
        Ok(Exclusion { rule_id: rule_id.clone(), fields, source_networks, reason, expires })
    }

    /// Returns the conditions on fields of the event, by the names of the fields.
    fn fields(&self) -> [(&'static str, Option<&Spanned<Texts>>); 13] {
        [
            ("username", self.username.as_ref()),
            ("namespace", self.namespace.as_ref()),
            ("cluster", self.cluster.as_ref()),
            ("name", self.name.as_ref()),
            ("resource", self.resource.as_ref()),
            ("subresource", self.subresource.as_ref()),
            ("apiGroup", self.api_group.as_ref()),
            ("verb", self.verb.as_ref()),
            ("userAgent", self.user_agent.as_ref()),
            ("userArn", self.user_arn.as_ref()),
            ("requestURI", self.request_uri.as_ref()),
            ("serviceType", self.service_type.as_ref()),
            ("logType", self.log_type.as_ref()),
        ]
    }
}

//! Decides which tenant a record belongs to.

use std::fmt;

use portcullis_event::json;
use thiserror::Error;

use crate::package::Pattern;

/// Identifies records of a tenant: all conditions must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Claim {
    /// Names of the input, one of which must match; if empty, the input does not matter.
    pub inputs: Vec<Pattern>,
    /// Fields of the record, each with the texts of which one must match.
    pub fields: Vec<(FieldPath, Vec<Pattern>)>,
}

/// The path of a field in a record, such as `resource.labels.project_id`. Items of lists and names that contain a dot
/// have no path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldPath(Vec<String>);

/// A record that does not belong to exactly one tenant.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Unclaimed {
    /// No tenant claims it.
    #[error("belongs to no tenant: no claim in the config matches it")]
    NoClaim,
    /// Several tenants claim it. The rules of one tenant must not see the records of another.
    #[error("belongs to more than one tenant: {0} claim it")]
    Several(String),
}

impl FieldPath {
    /// Parses a path, names separated by dots; `None` if a name is empty.
    #[must_use]
    pub fn new(text: &str) -> Option<Self> {
        let names: Vec<String> = text.split('.').map(str::to_owned).collect();
        names.iter().all(|name| !name.is_empty()).then_some(Self(names))
    }

    /// Returns the text at this path of a record.
    fn of<'r>(&self, record: &'r str) -> Option<portcullis_event::Text<'r>> {
        let (last, outer) = self.0.split_last()?;
        let mut object = record;
        for name in outer {
            let [inner] = json::members(object, [name]).ok()?;
            object = inner?.get();
        }
        let [value] = json::members(object, [last]).ok()?;
        json::text(value).present()
    }
}

impl fmt::Display for FieldPath {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0.join("."))
    }
}

/// The claims of all tenants. For a tenant, one of its claims must hold.
#[derive(Clone, Debug, Default)]
pub(super) struct Claims {
    tenants: Vec<Vec<Claim>>,
    /// All paths in the claims, each once.
    paths: Vec<FieldPath>,
}

impl Claims {
    pub(super) fn new(tenants: Vec<Vec<Claim>>) -> Self {
        let mut paths: Vec<FieldPath> = Vec::new();
        for (path, _) in tenants.iter().flatten().flat_map(|claim| &claim.fields) {
            if !paths.contains(path) {
                paths.push(path.clone());
            }
        }
        Self { tenants, paths }
    }

    /// Returns the number of the tenant that a record belongs to.
    ///
    /// # Errors
    /// The record does not belong to exactly one tenant; the error contains the numbers of all that claim it.
    pub(super) fn owner(&self, record: &[u8], input: &str) -> Result<usize, Vec<usize>> {
        let record = std::str::from_utf8(record).unwrap_or_default();
        let values: Vec<_> = self.paths.iter().map(|path| path.of(record)).collect();
        let value = |path: &FieldPath| {
            let number = self.paths.iter().position(|known| known == path);
            number.and_then(|number| values[number].as_deref())
        };
        let holds = |claim: &Claim| {
            let any = |patterns: &[Pattern], text: &str| patterns.iter().any(|pattern| pattern.matches(text));
            (claim.inputs.is_empty() || any(&claim.inputs, input))
                && claim.fields.iter().all(|(path, patterns)| value(path).is_some_and(|text| any(patterns, text)))
        };
        let owners = self.tenants.iter().enumerate().filter(|(_, claims)| claims.iter().any(holds));
        match &*owners.map(|(number, _)| number).collect::<Vec<_>>() {
            [owner] => Ok(*owner),
            others => Err(others.to_vec()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claim(inputs: &[&str], fields: &[(&str, &str)]) -> Claim {
        let fields =
            fields.iter().map(|(path, text)| (FieldPath::new(path).expect("a path"), vec![Pattern::new(text)]));
        Claim { inputs: inputs.iter().map(|text| Pattern::new(text)).collect(), fields: fields.collect() }
    }

    #[test]
    fn a_record_belongs_to_the_only_tenant_that_claims_it() {
        let claims = Claims::new(vec![
            vec![claim(&[], &[("p_source_label", "acme-*")]), claim(&["acme/*"], &[])],
            vec![claim(&[], &[("resource.labels.project_id", "globex"), ("logName", "projects/globex/*")])],
        ]);
        let owner = |record: &str, input: &str| claims.owner(record.as_bytes(), input);
        assert_eq!(owner(r#"{"p_source_label":"acme-prod"}"#, "-"), Ok(0));
        assert_eq!(owner("no JSON", "acme/1.json"), Ok(0));
        let globex = r#"{"logName":"projects/globex/logs/x","resource":{"labels":{"project_id":"globex"}}}"#;
        assert_eq!(owner(globex, "-"), Ok(1));
        assert_eq!(owner(globex, "acme/1.json"), Err(vec![0, 1]), "claimed twice, it is unclaimed");
        for unclaimed in [
            r#"{"p_source_label":"acme"}"#,
            r#"{"p_source_label":["acme-prod"]}"#,
            r#"{"requestObject":{"p_source_label":"acme-prod"}}"#,
            r#"{"resource":{"labels":{"project_id":"globex"}}}"#,
            r#"{"logName":"projects/globex/logs/x","resource":"globex"}"#,
            "no JSON",
            "",
        ] {
            assert_eq!(owner(unclaimed, "-"), Err(vec![]), "{unclaimed}");
        }
        // As everywhere, the last of equal names counts.
        assert_eq!(owner(r#"{"p_source_label":"acme-prod","p_source_label":"x"}"#, "-"), Err(vec![]));
    }
}

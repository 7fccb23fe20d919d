//! Decides which tenant a record belongs to.

use std::collections::HashMap;
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
#[derive(Debug, Default)]
pub(super) struct Claims {
    all: Vec<IndexedClaim>,
    /// All paths in the claims, each once.
    paths: Vec<FieldPath>,
    /// For the input and each path, the claims that are found by these exact texts. Only those and the others are tried
    /// for a record. Claims that have a text in common are tried together.
    by_text: Vec<HashMap<String, Vec<usize>>>,
    /// The numbers of all other claims.
    others: Vec<usize>,
}

/// A claim of this tenant. Each condition has the number of the source of its text: 0 is the input, others are paths.
#[derive(Debug)]
struct IndexedClaim {
    tenant: usize,
    conditions: Vec<(usize, Vec<Pattern>)>,
}

impl Claims {
    pub(super) fn new(tenants: Vec<Vec<Claim>>) -> Self {
        let mut known = Self { by_text: vec![HashMap::new()], ..Self::default() };
        for (tenant, claims) in tenants.into_iter().enumerate() {
            for claim in claims {
                known.add(tenant, claim);
            }
        }
        known
    }

    fn add(&mut self, tenant: usize, claim: Claim) {
        let fields = claim.fields.into_iter().map(|(path, patterns)| {
            let number = self.paths.iter().position(|known| *known == path).unwrap_or_else(|| {
                self.paths.push(path);
                self.by_text.push(HashMap::new());
                self.paths.len() - 1
            });
            (number + 1, patterns)
        });
        let input = Some((0, claim.inputs)).filter(|(_, patterns)| !patterns.is_empty());
        let conditions: Vec<_> = fields.chain(input).collect();
        let number = self.all.len();
        let exact = conditions.iter().find_map(|(source, patterns)| Some((*source, exact_texts(patterns)?)));
        match exact {
            Some((source, texts)) => {
                for text in texts {
                    self.by_text[source].entry(text.to_owned()).or_default().push(number);
                }
            }
            None => self.others.push(number),
        }
        self.all.push(IndexedClaim { tenant, conditions });
    }

    /// Returns the number of the tenant that a record belongs to.
    ///
    /// # Errors
    /// The record does not belong to exactly one tenant; the error contains the numbers of all that claim it.
    pub(super) fn owner(&self, record: &[u8], input: &str) -> Result<usize, Vec<usize>> {
        let record = std::str::from_utf8(record).unwrap_or_default();
        let fields = self.paths.iter().map(|path| path.of(record));
        let texts: Vec<_> = std::iter::once(Some(input.into())).chain(fields).collect();
        let known = self.by_text.iter().zip(&texts).filter_map(|(claims, text)| claims.get(text.as_deref()?));
        let holds = |claim: &IndexedClaim| {
            claim.conditions.iter().all(|(source, patterns)| {
                texts[*source].as_deref().is_some_and(|text| patterns.iter().any(|pattern| pattern.matches(text)))
            })
        };
        let claims = known.flatten().chain(&self.others).map(|number| &self.all[*number]);
        let mut owners: Vec<usize> = claims.filter(|claim| holds(claim)).map(|claim| claim.tenant).collect();
        owners.sort_unstable();
        owners.dedup();
        if let [owner] = *owners { Ok(owner) } else { Err(owners) }
    }
}

/// Returns the texts of patterns that match nothing else; `None` if one of them is a prefix.
fn exact_texts<'p>(patterns: &'p [Pattern]) -> Option<Vec<&'p str>> {
    let exact = |pattern: &'p Pattern| if let Pattern::Exact(text) = pattern { Some(text.as_str()) } else { None };
    patterns.iter().map(exact).collect()
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;
    use proptest::sample::select;

    use super::*;

    fn field() -> impl Strategy<Value = &'static str> {
        select(&["label", "project"][..])
    }

    fn text() -> impl Strategy<Value = &'static str> {
        select(&["a", "ab", "b"][..])
    }

    fn pattern() -> impl Strategy<Value = &'static str> {
        select(&["a", "ab", "b", "a*", "*"][..])
    }

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

    proptest! {
        #[test]
        fn the_owners_are_the_tenants_with_a_claim_that_holds(
            tenants in vec(vec((vec(pattern(), 0..2), vec((field(), vec(pattern(), 1..3)), 0..3)), 0..4), 0..6),
            values in vec((field(), text()), 0..3),
            input in text(),
        ) {
            let claim = |(inputs, fields): &(Vec<&str>, Vec<(&str, Vec<&str>)>)| Claim {
                inputs: inputs.iter().map(|text| Pattern::new(text)).collect(),
                fields: fields
                    .iter()
                    .map(|(path, texts)| {
                        (FieldPath::new(path).expect("a path"), texts.iter().map(|text| Pattern::new(text)).collect())
                    })
                    .collect(),
            };
            let tenants: Vec<Vec<Claim>> = tenants.iter().map(|claims| claims.iter().map(claim).collect()).collect();
            let record: serde_json::Map<_, _> =
                values.iter().map(|(name, text)| ((*name).to_owned(), (*text).into())).collect();
            let record = serde_json::Value::Object(record);
            let any = |patterns: &[Pattern], text: &str| patterns.iter().any(|pattern| pattern.matches(text));
            let holds = |claim: &Claim| {
                (claim.inputs.is_empty() || any(&claim.inputs, input))
                    && claim.fields.iter().all(|(path, patterns)| {
                        record[path.to_string()].as_str().is_some_and(|text| any(patterns, text))
                    })
            };
            let expected: Vec<usize> =
                (0..tenants.len()).filter(|tenant| tenants[*tenant].iter().any(holds)).collect();
            let expected = if let [owner] = *expected { Ok(owner) } else { Err(expected) };
            prop_assert_eq!(Claims::new(tenants.clone()).owner(record.to_string().as_bytes(), input), expected);
        }
    }
}

//! Rules that differ in all but their code.

use portcullis::package::{Recipe, pack};
use portcullis::{Engine, Package};
use serde_json::{Map, Value, json};

/// Returns a package with the code of another, for all clouds, and with a rule id of its own. Without a prefilter, it
/// has that of the other.
pub(crate) fn other(like: &Package, number: usize, prefilter: Option<&Map<String, Value>>) -> Vec<u8> {
    let spec = format!(
        "AnalysisType: rule\nRuleID: Other.{number:04}\nEnabled: true\nFilename: other.py\nSeverity: Low\n\
         LogTypes: [Amazon.EKS.Audit, Azure.MonitorActivity, GCP.AuditLog]\n"
    );
    let recipe = Recipe { spec: Some(spec.as_bytes()), prefilter, ..Recipe::default() };
    pack(like.bytes(), "other", &recipe).expect("a package").bytes
}

/// Returns this many rules whose prefilters match no record, each with a component of its own.
pub(crate) fn others(engine: &Engine, like: &Package, count: usize) -> Vec<Package> {
    let rule = |number: usize| {
        let verb = ["create", "delete", "update", "patch"][number % 4];
        let prefilter = json!({
            "verb": [verb],
            "resource": [format!("things{}", number % 250)],
            "username": [format!("system:serviceaccount:operators:operator-{number}*")],
        });
        Package::load(engine, &other(like, number, prefilter.as_object()), "another").expect("a package")
    };
    (0..count).map(rule).collect()
}

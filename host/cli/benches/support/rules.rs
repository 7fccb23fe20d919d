//! Rules that match no record.

use portcullis::package::{Recipe, pack};
use portcullis::{Engine, Package};

/// Returns this many rules whose prefilters match no record, each with a component of its own.
pub(crate) fn others(engine: &Engine, like: &Package, count: usize) -> Vec<Package> {
    let rule = |number: usize| {
        let spec = format!(
            "AnalysisType: rule\nRuleID: Other.{number:04}\nEnabled: true\nFilename: other.py\nSeverity: Low\n\
             LogTypes: [Amazon.EKS.Audit, Azure.MonitorActivity, GCP.AuditLog]\n"
        );
        let verb = ["create", "delete", "update", "patch"][number % 4];
        let prefilter = serde_json::json!({
            "verb": [verb],
            "resource": [format!("things{}", number % 250)],
            "username": [format!("system:serviceaccount:operators:operator-{number}*")],
        });
        let recipe = Recipe { spec: Some(spec.as_bytes()), prefilter: prefilter.as_object(), ..Recipe::default() };
        let packed = pack(like.bytes(), "other", &recipe).expect("a package");
        Package::load(engine, &packed.bytes, "another").expect("a package")
    };
    (0..count).map(rule).collect()
}

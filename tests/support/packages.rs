//! Packages that tests make, above all hostile ones.

use std::path::{Path, PathBuf};

/// A file or folder of the project.
pub(crate) fn project(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(path)
}

/// A package of a component, a spec and a manifest.
pub(crate) fn package(component: &[u8], spec: &str, manifest: &str) -> Vec<u8> {
    use wasm_encoder::{ComponentSection as _, CustomSection};
    let mut package = component.to_vec();
    for (name, data) in [("portcullis:spec", spec), ("portcullis:manifest", manifest)] {
        CustomSection { name: name.into(), data: data.as_bytes().into() }.append_to_component(&mut package);
    }
    package
}

/// A spec of a rule that subscribes to EKS records.
pub(crate) fn spec(rule_id: &str) -> String {
    format!(
        "AnalysisType: rule\nRuleID: {rule_id}\nEnabled: true\nFilename: a.py\nLogTypes: [Amazon.EKS.Audit]\nSeverity: Low\n"
    )
}

/// A manifest that lets every event through.
pub(crate) const OPEN_MANIFEST: &str = r#"{"version":"0.1.0","prefilter":{}}"#;

/// A component of our world, of a core module in WebAssembly's text format that exports what the world's encoding asks
/// for: `memory`, `cabi_realloc` and `portcullis:detection/rule@1.0.0#evaluate`.
pub(crate) fn component(core: &str) -> Vec<u8> {
    let mut module = wat::parse_str(core).expect("the module's text is right");
    let mut resolve = wit_parser::Resolve::default();
    let (wit, _) = resolve.push_path(project("wit")).expect("the WIT is right");
    let world = resolve.select_world(&[wit], Some("detection")).expect("the world");
    wit_component::embed_component_metadata(&mut module, &resolve, world, wit_component::StringEncoding::UTF8)
        .expect("the module takes the world");
    wit_component::ComponentEncoder::default()
        .module(&module)
        .and_then(|mut encoder| encoder.encode())
        .expect("the module fits the world")
}

/// A hostile component of `fixtures/hostile/` as a package that is shown every event.
pub(crate) fn hostile(name: &str) -> Vec<u8> {
    package(&hostile_component(name), &spec(&format!("Hostile.{name}")), OPEN_MANIFEST)
}

/// Its component: of a core module, unless the file is a whole component.
pub(crate) fn hostile_component(name: &str) -> Vec<u8> {
    let text = std::fs::read_to_string(project("fixtures/hostile").join(name).with_extension("wat")).expect(name);
    if text.contains("\n(component\n") { wat::parse_str(&text).expect(name) } else { component(&text) }
}

/// The names of all hostile components.
pub(crate) fn all_hostile() -> Vec<String> {
    let files = std::fs::read_dir(project("fixtures/hostile")).expect("the folder");
    let name = |file: std::fs::DirEntry| file.path().file_stem().expect("a name").to_str().expect("UTF-8").to_owned();
    let mut names: Vec<String> = files.map(|file| name(file.expect("a file"))).collect();
    names.sort();
    names
}

/// The rule that tests have versions of.
pub(crate) const VERSIONED: &str = "Test.Versioned";

/// What a version of [`VERSIONED`] does. A long event is one of more than 1,000 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Does {
    /// Alerts on every event.
    Alert,
    /// Matches nothing.
    Nothing,
    /// Matches nothing, and traps on long events.
    TrapOnLong,
    /// Matches nothing, and never ends on long events.
    LoopOnLong,
    /// Never ends.
    Loop,
}

/// A version of [`VERSIONED`], with a test case that says what it does.
pub(crate) fn version(version: &str, does: Does) -> Vec<u8> {
    package(&does.component(), &versioned_spec(does == Does::Alert), &versioned_manifest(version))
}

/// A version of [`VERSIONED`] with a test case that expects the contrary of what it does.
pub(crate) fn version_that_fails(version: &str, does: Does) -> Vec<u8> {
    package(&does.component(), &versioned_spec(does != Does::Alert), &versioned_manifest(version))
}

fn versioned_manifest(version: &str) -> String {
    format!(r#"{{"version":"{version}","prefilter":{{}}}}"#)
}

/// A spec with one test case.
pub(crate) fn versioned_spec(expected: bool) -> String {
    spec(VERSIONED)
        + &format!(
            "Tests:\n  - {{Name: any, ExpectedResult: {expected}, Log: {{p_log_type: Amazon.EKS.Audit, verb: get}}}}\n"
        )
}

impl Does {
    /// A component that does this.
    pub(crate) fn component(self) -> Vec<u8> {
        let body = match self {
            Self::Alert => "i32.const 16",
            Self::Nothing => "i32.const 64",
            Self::TrapOnLong => "(if (i32.gt_u (local.get 1) (i32.const 1000)) (then unreachable)) i32.const 64",
            Self::LoopOnLong => {
                "(if (i32.gt_u (local.get 1) (i32.const 1000)) (then (loop $forever br $forever))) i32.const 64"
            }
            Self::Loop => "(loop $forever br $forever) unreachable",
        };
        component(&format!(
            r#"(module
                (memory (export "memory") 1)
                (data (i32.const 512) "{{}}\00\00ok")
                (data (i32.const 16) "\01\00\00\00" "\04\02\00\00" "\02\00\00\00" "\04\02\00\00" "\02\00\00\00" "\00\00\00\00" "\00\02\00\00" "\02\00\00\00")
                (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) i32.const 1024)
                (func (export "portcullis:detection/rule@1.0.0#evaluate") (param i32 i32) (result i32) {body}))"#
        ))
    }
}

/// A package of this rule with thousands of test cases that each use up their time.
pub(crate) fn slow_to_check(rule_id: &str, version: &str) -> Vec<u8> {
    let test_case = |n: usize| {
        format!("  - {{Name: \"{n}\", ExpectedResult: false, Log: {{p_log_type: Amazon.EKS.Audit, verb: get}}}}\n")
    };
    let spec = spec(rule_id) + "Tests:\n" + &(0..2_700).map(test_case).collect::<String>();
    package(&Does::Loop.component(), &spec, &format!(r#"{{"version":"{version}","prefilter":{{}}}}"#))
}

/// A record that [`VERSIONED`] is asked about; a long one becomes a long event.
pub(crate) fn record(long: bool) -> String {
    let agent = if long { "x".repeat(1000) } else { "kubectl".to_owned() };
    serde_json::json!({
        "kind": "Event", "apiVersion": "audit.k8s.io/v1", "verb": "get", "user": {"username": "ada"}, "userAgent": agent,
        "requestReceivedTimestamp": "2020-01-01T00:00:00Z", "p_log_type": "Amazon.EKS.Audit",
    })
    .to_string()
}

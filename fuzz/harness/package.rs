//! Fuzzes an untrusted package: its file, its code and its manifest.

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use arbitrary::{Result, Unstructured};
use portcullis::package::{Manifest, RULE_INTERFACE};
use portcullis::sandbox::Sandbox;
use portcullis::{Judge, Limits, Package, RuleSet, Verdict};
use portcullis_event::{Buffers, Outcome, normalize};
use wasm_smith::{Config, Module};

use super::component::{self, ENGINE, OPEN_MANIFEST, PARROT, SPEC, component};

/// Fuzzes the part of a package that the first byte selects with the other bytes.
pub(crate) fn package(data: &[u8]) {
    let Some((kind, rest)) = data.split_first() else { return };
    match kind % 3 {
        0 => file(rest),
        1 => drop(module(&mut Unstructured::new(rest))),
        _ => manifest(rest),
    }
}

/// Returns low limits, so that exceeding them takes little time.
fn limits() -> Limits {
    Limits {
        time: Duration::from_millis(2),
        memory: 1 << 20,
        table_elements: 1_000,
        answer: 4 << 10,
        events_per_instance: 2,
        ..Limits::default()
    }
}

/// Inputs of different lengths, more of them than one instance evaluates.
const EVENTS: [&str; 3] = [
    r#"{"logType":"Amazon.EKS.Audit","userGroups":[],"sourceIPs":[],"sourceScope":"none","asn":[],"malformed":[]}"#,
    "",
    r#"{"logType":"GCP.AuditLog","verb":"create","username":"ünïcode","userGroups":["a","b"],"sourceIPs":["8.8.8.8"]}"#,
];

/// Runs a rule, which may do anything except crash the process.
fn run(package: Package) {
    let mut sandbox = Sandbox::new(package, limits());
    for event in EVENTS {
        if let Err(fault) = sandbox.evaluate(event) {
            assert!(!fault.to_string().is_empty());
        }
    }
}

/// Loads bytes as a package file, and runs the rule if the package is accepted.
fn file(bytes: &[u8]) {
    let package = match Package::load(&ENGINE, bytes, "the file") {
        Ok(package) => package,
        Err(error) => {
            assert!(error.to_string().starts_with("the file: "), "{error}");
            return;
        }
    };
    let (surface, sizes) = (package.surface(), package.sizes());
    assert!(surface.imports.is_empty(), "{surface:?}");
    assert_eq!(surface.exports, [RULE_INTERFACE]);
    assert_eq!(sizes.component + sizes.spec + sizes.manifest + sizes.signature, bytes.len());
    assert_eq!(package.bytes(), bytes);
    run(package);
}

/// Modules whose exports the generated modules have, with different memories: empty, one page that may or may not grow,
/// as large as the limit, and larger.
static SHAPES: LazyLock<Vec<Vec<u8>>> = LazyLock::new(|| {
    let shape = |memory: &&str| {
        wat::parse_str(format!(
            r#"(module
                (memory (export "memory") {memory})
                (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) unreachable)
                (func (export "{RULE_INTERFACE}#evaluate") (param i32 i32) (result i32) unreachable))"#
        ))
        .expect("the module's text is valid")
    };
    ["0", "1", "1 1", "16", "17 20"].iter().map(shape).collect()
});

/// Generates a valid module that uses the engine's features, checks that it is accepted, and runs it.
fn module(unstructured: &mut Unstructured<'_>) -> Result<()> {
    let references = unstructured.ratio(1, 8)?;
    let config = Config {
        exports: Some(unstructured.choose(&SHAPES)?.clone()),
        allow_start_export: unstructured.arbitrary()?,
        simd_enabled: false,
        extended_const_enabled: false,
        multi_value_enabled: unstructured.arbitrary()?,
        // The engine lacks some reference types, because garbage collection is switched off.
        reference_types_enabled: references,
        // Small modules compile faster, so that more of them are tried.
        max_imports: 0,
        max_memories: 0,
        max_tables: 2,
        max_table_elements: 2_000,
        max_types: 10,
        max_funcs: 5,
        max_globals: 10,
        max_data_segments: 4,
        max_element_segments: 4,
        max_elements: 20,
        max_instructions: 50,
        max_tags: 0,
        exceptions_enabled: false,
        gc_enabled: false,
        memory64_enabled: false,
        relaxed_simd_enabled: false,
        tail_call_enabled: false,
        threads_enabled: false,
        ..Config::default()
    };
    let core = Module::new(config, unstructured)?.to_bytes();
    let bytes = component::package(&component(&core), SPEC, OPEN_MANIFEST);
    match Package::load(&ENGINE, &bytes, "the module") {
        Ok(package) => run(package),
        Err(error) => assert!(references, "{error}"),
    }
    Ok(())
}

/// Records that differ in the fields of prefilters.
const RECORDS: [&str; 3] = [
    r#"{"p_log_type":"Amazon.EKS.Audit"}"#,
    r#"{"p_log_type":"Amazon.EKS.Audit","verb":"create","stage":"ResponseComplete","user":{"username":"system:node:a"},
        "objectRef":{"resource":"services","namespace":"prod","name":"web"},"requestObject":{"spec":{"type":"NodePort"}}}"#,
    r#"{"p_log_type":"Amazon.EKS.Audit","verb":"get","user":{"username":"system:serviceaccount:b:c"},"userAgent":"curl",
        "sourceIPs":["8.8.8.8"],"objectRef":{"resource":"pods","subresource":"exec","apiGroup":"a"},"requestURI":"/api"}"#,
];

/// Reads bytes as a manifest. Checks that writing and reading it again gives an equal manifest, and that its prefilter
/// gives the same result in the index of a rule set as alone.
fn manifest(json: &[u8]) {
    let Ok(manifest) = Manifest::from_json(json) else { return };
    let again = serde_json::json!({"version": manifest.version.to_string(), "prefilter": manifest.prefilter.to_json()});
    let again = Manifest::from_json(again.to_string().as_bytes()).expect("a written manifest can be read");
    assert_eq!(again, manifest);

    let Ok(text) = std::str::from_utf8(json) else { return };
    let bytes = component::package(&PARROT, SPEC, text);
    let package = Package::load(&ENGINE, &bytes, "the package").expect("a package with a valid manifest loads");
    let rules = RuleSet::new(vec![package.clone()]).expect("one rule is a rule set");
    let mut judge = Judge::new(Arc::new(rules), limits());
    let mut buffers = Buffers::default();
    for record in RECORDS {
        let Outcome::Evaluated(event) = normalize(record.as_bytes(), &mut buffers) else {
            panic!("the record was not evaluated: {record}")
        };
        let verdicts = judge.event(&event);
        let skipped = verdicts.all().all(|(_, verdict)| matches!(verdict, Verdict::Skipped));
        assert_eq!(skipped, package.prefilter().first_miss(&event).is_some(), "{record}: {verdicts:?}");
    }
}

//! Builds packages from core modules.

use std::sync::LazyLock;

use portcullis::Engine;
use wasm_encoder::{ComponentSection as _, CustomSection};
use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::{Resolve, WorldId};

/// The engine that all harnesses share.
pub(super) static ENGINE: LazyLock<Engine> = LazyLock::new(|| Engine::new().expect("the engine starts"));

static WORLD: LazyLock<(Resolve, WorldId)> = LazyLock::new(|| {
    let mut resolve = Resolve::default();
    let wit = include_str!("../../wit/detection.wit");
    let package = resolve.push_str("detection.wit", wit).expect("the WIT is valid");
    let world = resolve.select_world(&[package], Some("detection")).expect("the WIT has the world");
    (resolve, world)
});

/// Spec of a rule that subscribes to EKS records.
pub(super) const SPEC: &str = "AnalysisType: rule\nRuleID: Fuzz\nEnabled: true\nFilename: a.py\nLogTypes: [Amazon.EKS.Audit]\n\
     Severity: Low\nRunbook: |\n  One\n\n  Two\nSummaryAttributes: [username, p_any_ip_addresses, p_source_label]\n";

/// Manifest whose prefilter lets every event through.
pub(super) const OPEN_MANIFEST: &str = r#"{"version":"0.1.0","prefilter":{}}"#;

/// A component that answers with the bytes in its input.
pub(super) static PARROT: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let core = wat::parse_str(include_str!("parrot.wat")).expect("the module's text is valid");
    component(&core)
});

/// Makes a component of the world `detection` from a core module that has the exports of the world's encoding.
pub(super) fn component(core: &[u8]) -> Vec<u8> {
    let (resolve, world) = &*WORLD;
    let mut module = core.to_vec();
    embed_component_metadata(&mut module, resolve, *world, StringEncoding::UTF8)
        .expect("the world can be embedded in the module");
    ComponentEncoder::default()
        .module(&module)
        .and_then(|mut encoder| encoder.encode())
        .expect("the module has the exports of the world")
}

/// Makes a package from a component, a spec and a manifest.
pub(super) fn package(component: &[u8], spec: &str, manifest: &str) -> Vec<u8> {
    let mut package = component.to_vec();
    for (name, data) in [("portcullis:spec", spec), ("portcullis:manifest", manifest)] {
        CustomSection { name: name.into(), data: data.as_bytes().into() }.append_to_component(&mut package);
    }
    package
}

//! The custom sections that make a package of a component. The build script uses this file too.

use wasm_encoder::{ComponentSection as _, CustomSection};
use wasmparser::{BinaryReaderError, Parser, Payload};

/// The section with the rule's spec: Panther's YAML, byte for byte.
pub(crate) const SPEC: &str = "portcullis:spec";

/// The section with the manifest: JSON with the version and the prefilter.
pub(crate) const MANIFEST: &str = "portcullis:manifest";

/// Returns the contents of the custom sections with this name, in order, without those of nested modules and
/// components.
///
/// # Errors
/// The bytes are not WebAssembly's binary format.
pub(crate) fn find<'w>(wasm: &'w [u8], name: &str) -> Result<Vec<&'w [u8]>, BinaryReaderError> {
    let mut found = Vec::new();
    for payload in top_level(wasm) {
        if let Payload::CustomSection(section) = payload?
            && section.name() == name
        {
            found.push(section.data());
        }
    }
    Ok(found)
}

/// Adds a custom section to a component.
pub(crate) fn append(component: &mut Vec<u8>, name: &str, data: &[u8]) {
    CustomSection { name: name.into(), data: data.into() }.append_to_component(component);
}

/// Returns the parts of a module or component, without those of nested modules and components.
pub(crate) fn top_level(wasm: &[u8]) -> impl Iterator<Item = Result<Payload<'_>, BinaryReaderError>> {
    let mut depth = 0;
    Parser::new(0).parse_all(wasm).filter(move |payload| {
        let is_top_level = depth == 0;
        match payload {
            Ok(Payload::ModuleSection { .. } | Payload::ComponentSection { .. }) => depth += 1,
            Ok(Payload::End(_)) if depth > 0 => depth -= 1,
            _ => {}
        }
        is_top_level || payload.is_err()
    })
}

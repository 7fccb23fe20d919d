//! The custom sections that make a package of a component. The build script uses this file too.

use wasmparser::{BinaryReaderError, Parser, Payload};

/// The section with the rule's spec: Panther's YAML, byte for byte.
pub(crate) const SPEC: &str = "portcullis:spec";

/// The section with the manifest: JSON with the version and the prefilter.
pub(crate) const MANIFEST: &str = "portcullis:manifest";

/// The contents of the custom sections with this name, in order; those of nested modules and components do not count.
///
/// # Errors
/// The bytes are not WebAssembly's binary format.
pub(crate) fn find<'w>(wasm: &'w [u8], name: &str) -> Result<Vec<&'w [u8]>, BinaryReaderError> {
    let mut found = Vec::new();
    let mut depth = 0;
    for payload in Parser::new(0).parse_all(wasm) {
        match payload? {
            Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => depth += 1,
            Payload::End(_) if depth > 0 => depth -= 1,
            Payload::CustomSection(section) if depth == 0 && section.name() == name => found.push(section.data()),
            _ => {}
        }
    }
    Ok(found)
}

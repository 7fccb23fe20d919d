//! The custom sections that make a package of a component. The build script uses this file too.

use wasmparser::{BinaryReaderError, Parser, Payload};

/// The section with the rule's spec: Panther's YAML, byte for byte.
pub(crate) const SPEC: &str = "portcullis:spec";

/// The section with the manifest: JSON with the version and the prefilter.
pub(crate) const MANIFEST: &str = "portcullis:manifest";

/// Appends a custom section.
pub(crate) fn attach(wasm: &mut Vec<u8>, name: &str, data: &[u8]) {
    use wasm_encoder::Encode as _;
    wasm.push(0); // a custom section's id, the same in modules and components
    let mut content = Vec::with_capacity(name.len() + data.len() + 8);
    name.encode(&mut content);
    content.extend_from_slice(data);
    content.encode(wasm);
}

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

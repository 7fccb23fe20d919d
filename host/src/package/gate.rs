//! What a file must be before its component is compiled.

use thiserror::Error;
use wasmparser::{Encoding, Parser, Payload};

/// The interface that a component of our world exports, and all that it exports.
pub const RULE_INTERFACE: &str = "portcullis:detection/rule@1.0.0";

/// The world.
pub const WORLD: &str = "portcullis:detection/detection@1.0.0";

/// What a file is instead of a rule's component.
#[derive(Debug, Error)]
pub enum GateError {
    /// No WebAssembly at all.
    #[error("it is not WebAssembly: it does not begin with the bytes \\0asm")]
    NotWasm,
    /// The text format.
    #[error("it is WebAssembly's text format; a package is binary. Translate it, for instance with `wasm-tools parse`")]
    Text,
    /// A core module.
    #[error(
        "it is a core module and not a component. Make a component of it, for instance with `wasm-tools component new`"
    )]
    CoreModule,
    /// Cut off or broken.
    #[error("it is not valid WebAssembly: {0}")]
    Malformed(#[from] wasmparser::BinaryReaderError),
    /// It imports something.
    #[error("it imports {0}; a rule imports nothing")]
    Imports(String),
    /// Its exports are not the world's.
    #[error("it exports {found}; a rule exports {RULE_INTERFACE} and nothing else (world {WORLD})")]
    Exports {
        /// The names that it exports.
        found: String,
    },
}

/// What a component imports and exports.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Surface {
    /// The names of its imports.
    pub imports: Vec<String>,
    /// The names of its exports.
    pub exports: Vec<String>,
}

/// Lets through components of our world only.
///
/// # Errors
/// What the file is instead.
pub(super) fn check(wasm: &[u8]) -> Result<Surface, GateError> {
    if !wasm.starts_with(b"\0asm") {
        let text = wasm.trim_ascii_start();
        let is_text = [&b"(component"[..], b"(module", b"(;", b";;"].iter().any(|start| text.starts_with(start));
        return Err(if is_text { GateError::Text } else { GateError::NotWasm });
    }
    let mut surface = Surface::default();
    let mut depth = 0;
    for payload in Parser::new(0).parse_all(wasm) {
        match payload? {
            Payload::Version { encoding: Encoding::Module, .. } if depth == 0 => return Err(GateError::CoreModule),
            Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => depth += 1,
            Payload::End(_) if depth > 0 => depth -= 1,
            Payload::ComponentImportSection(imports) if depth == 0 => {
                for import in imports {
                    surface.imports.push(import?.name.name.to_owned());
                }
            }
            Payload::ComponentExportSection(exports) if depth == 0 => {
                for export in exports {
                    surface.exports.push(export?.name.name.to_owned());
                }
            }
            _ => {}
        }
    }
    if !surface.imports.is_empty() {
        return Err(GateError::Imports(surface.imports.join(", ")));
    }
    if surface.exports != [RULE_INTERFACE] {
        let found = if surface.exports.is_empty() { "nothing".to_owned() } else { surface.exports.join(", ") };
        return Err(GateError::Exports { found });
    }
    Ok(surface)
}

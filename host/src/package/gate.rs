//! What a file must be before its component is compiled.

use thiserror::Error;
use wasmparser::{Encoding, Payload};

use super::sections;

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
    Malformed(String),
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

impl From<wasmparser::BinaryReaderError> for GateError {
    fn from(error: wasmparser::BinaryReaderError) -> Self {
        Self::Malformed(error.to_string())
    }
}

/// Lets through components of our world only.
///
/// # Errors
/// What the file is instead.
pub(super) fn check(wasm: &[u8]) -> Result<(), GateError> {
    if !wasm.starts_with(b"\0asm") {
        let text = wasm.trim_ascii_start();
        let is_text = [&b"(component"[..], b"(module", b"(;", b";;"].iter().any(|start| text.starts_with(start));
        return Err(if is_text { GateError::Text } else { GateError::NotWasm });
    }
    let (mut all_imports, mut all_exports) = (Vec::new(), Vec::new());
    for payload in sections::top_level(wasm) {
        match payload? {
            Payload::Version { encoding: Encoding::Module, .. } => return Err(GateError::CoreModule),
            Payload::ComponentImportSection(imports) => {
                for import in imports {
                    all_imports.push(import?.name.name);
                }
            }
            Payload::ComponentExportSection(exports) => {
                for export in exports {
                    all_exports.push(export?.name.name);
                }
            }
            _ => {}
        }
    }
    if !all_imports.is_empty() {
        return Err(GateError::Imports(all_imports.join(", ")));
    }
    if all_exports != [RULE_INTERFACE] {
        let found = if all_exports.is_empty() { "nothing".to_owned() } else { all_exports.join(", ") };
        return Err(GateError::Exports { found });
    }
    Ok(())
}

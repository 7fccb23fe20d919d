//! Checks whether a component implements our world: its imports, exports and types.

use thiserror::Error;
use wasmparser::component_types::{
    ComponentAnyTypeId, ComponentDefinedType, ComponentEntityType, ComponentInstanceTypeId, ComponentValType,
};
use wasmparser::types::TypesRef;
use wasmparser::{BinaryReaderError, Payload};

use super::sections;

/// The interface that a component of our world exports, and its only export.
pub const RULE_INTERFACE: &str = "portcullis:detection/rule@1.0.0";

/// The world.
pub const WORLD: &str = "portcullis:detection/detection@1.0.0";

/// The complete type of `evaluate`.
const EVALUATE: &str = "func(event-json: string) -> option<record {title: string, dedup: string, \
     severity: option<enum {info, low, medium, high, critical}>, context: string}>";

/// Limit for a type in a message, in bytes; our own has 170.
const MAX_TYPE: usize = 400;

/// Limit for the names in a message.
const MAX_NAMES: usize = 8;

/// A difference between a component and our world.
#[derive(Debug, Error)]
pub enum WorldError {
    /// It has imports.
    #[error("it imports {0}; a rule imports nothing")]
    Imports(String),
    /// Its exports are not those of the world.
    #[error("it exports {found}; a rule exports {RULE_INTERFACE} and nothing else (world {WORLD})")]
    Exports {
        /// Names of its exports.
        found: String,
    },
    /// The exported interface has other contents.
    #[error("its {RULE_INTERFACE} has {found}; it must have only the function evaluate: {EVALUATE}")]
    Interface {
        /// The contents of its interface.
        found: String,
    },
    /// Its sections cannot be read.
    #[error("it is not valid WebAssembly: {0}")]
    Malformed(#[from] BinaryReaderError),
}

/// Checks that a component imports nothing, and exports only the name of our interface.
///
/// # Errors
/// The first difference from our world.
pub(super) fn check_names(wasm: &[u8]) -> Result<(), WorldError> {
    let (mut imports, mut exports) = (Vec::new(), Vec::new());
    for payload in sections::top_level(wasm) {
        match payload? {
            Payload::ComponentImportSection(section) => {
                for import in section {
                    imports.push(import?.name.name);
                }
            }
            Payload::ComponentExportSection(section) => {
                for export in section {
                    exports.push(export?.name.name);
                }
            }
            _ => {}
        }
    }
    if !imports.is_empty() {
        return Err(WorldError::Imports(listed(&imports)));
    }
    if exports != [RULE_INTERFACE] {
        return Err(WorldError::Exports { found: listed(&exports) });
    }
    Ok(())
}

/// Checks the types of the exported interface. `types` are those of the component, which is valid.
///
/// # Errors
/// The difference from our interface.
pub(super) fn check_types(types: TypesRef<'_>) -> Result<(), WorldError> {
    let found = match types.component_item_for_export(RULE_INTERFACE).map(|item| item.ty) {
        Some(ComponentEntityType::Instance(instance)) => functions(types, instance),
        _ => vec!["something other than an interface".to_owned()],
    };
    if found != [format!("evaluate: {EVALUATE}")] {
        return Err(WorldError::Interface { found: listed(&found) });
    }
    Ok(())
}

fn listed<T: AsRef<str>>(names: &[T]) -> String {
    let more = if names.len() > MAX_NAMES { ", …" } else { "" };
    let cut = |name: &T| name.as_ref().chars().take(MAX_TYPE).collect::<String>();
    let names: Vec<String> = names.iter().take(MAX_NAMES).map(cut).collect();
    if names.is_empty() { "nothing".to_owned() } else { names.join(", ") + more }
}

/// Returns everything in an interface except types, each with its type.
fn functions(types: TypesRef<'_>, interface: ComponentInstanceTypeId) -> Vec<String> {
    let exports = types[interface].exports.iter();
    let described = exports.filter_map(|(name, item)| match item.ty {
        ComponentEntityType::Type { referenced: ComponentAnyTypeId::Defined(_), .. } => None,
        ComponentEntityType::Func(function) => {
            let function = &types[function];
            let mut text = format!("{name}: {}func(", if function.async_ { "async " } else { "" });
            for (number, (name, ty)) in function.params.iter().enumerate() {
                text += &format!("{}{name}: ", if number > 0 { ", " } else { "" });
                describe(types, ty, &mut text);
            }
            text.push(')');
            if let Some(ty) = &function.result {
                text += " -> ";
                describe(types, ty, &mut text);
            }
            Some(text)
        }
        _ => Some(format!("{name}: not a function")),
    });
    described.take(4).collect()
}

/// Writes a type as in WIT, if our world has types of this kind. It stops when the text is too long for a message,
/// because an untrusted type can be arbitrarily wide and deep.
fn describe(types: TypesRef<'_>, ty: &ComponentValType, text: &mut String) {
    let id = match ty {
        ComponentValType::Primitive(ty) => return *text += &ty.to_string(),
        ComponentValType::Type(_) if text.len() > MAX_TYPE => return *text += "…",
        ComponentValType::Type(id) => *id,
    };
    match &types[id] {
        ComponentDefinedType::Primitive(ty) => *text += &ty.to_string(),
        ComponentDefinedType::Option { ty, .. } => {
            *text += "option<";
            describe(types, ty, text);
            text.push('>');
        }
        ComponentDefinedType::Record(record) => {
            *text += "record {";
            for (number, (name, ty)) in record.fields.iter().enumerate() {
                if text.len() > MAX_TYPE {
                    *text += ", …";
                    break;
                }
                *text += &format!("{}{name}: ", if number > 0 { ", " } else { "" });
                describe(types, ty, text);
            }
            text.push('}');
        }
        ComponentDefinedType::Enum(cases) => {
            let cases: Vec<&str> = cases.iter().take(16).map(|case| &**case).collect();
            *text += &format!("enum {{{}}}", cases.join(", "));
        }
        _ => *text += "another type",
    }
}

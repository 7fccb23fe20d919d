//! The gate: checks of a file before its component is compiled.

use thiserror::Error;
use wasmparser::{CanonicalFunction, CompositeInnerType, Encoding, Parser, Payload, Validator};

use super::world::{self, WorldError};
use crate::engine::FEATURES;
use crate::limits::PackageLimits;

/// The reason why a file is not a rule's component.
#[derive(Debug, Error)]
pub enum GateError {
    /// It is not WebAssembly.
    #[error("it is not WebAssembly: it does not begin with the bytes \\0asm")]
    NotWasm,
    /// It has the text format.
    #[error("it is WebAssembly's text format; a package is binary. Translate it, for instance with `wasm-tools parse`")]
    Text,
    /// It is a core module.
    #[error(
        "it is a core module, not a component. Make a component of it, for instance with `wasm-tools component new`"
    )]
    CoreModule,
    /// It is cut off or broken, or uses a proposal that the engine does not support.
    #[error("it is not valid WebAssembly: {0}")]
    Malformed(String),
    /// It exceeds a limit in the config.
    #[error("it has {found} {what}; the limit is {limit} ({key} in the config's limits)")]
    TooMuch {
        /// The unit of the number.
        what: &'static str,
        /// The number.
        found: u64,
        /// The limit.
        limit: u64,
        /// The config's key for the limit.
        key: &'static str,
    },
    /// It has more parts than compilers make.
    #[error("it has {found} {what}; the limit is {limit}")]
    TooMany {
        /// The kind of part.
        what: &'static str,
        /// The number.
        found: u32,
        /// The limit.
        limit: u32,
    },
    /// It uses a built-in function of the component model.
    #[error(
        "it uses the built-in function {0} of the component model; a rule calls no other component, and has no \
         resources, tasks or threads"
    )]
    BuiltIn(String),
    /// It does not implement our world.
    #[error(transparent)]
    World(#[from] WorldError),
}

impl From<wasmparser::BinaryReaderError> for GateError {
    fn from(error: wasmparser::BinaryReaderError) -> Self {
        Self::Malformed(error.to_string())
    }
}

/// Checks that a file looks like a component of our world and is within the limits. This costs no more than reading the
/// file a few times.
///
/// # Errors
/// The reason why the file is refused.
pub(super) fn check(wasm: &[u8], limits: &PackageLimits) -> Result<(), GateError> {
    check_beginning(wasm)?;
    check_size(wasm.len(), limits)?;
    check_counts(wasm, limits)?;
    world::check_names(wasm)?;
    Ok(())
}

/// Checks that a file is a valid component of our world. No count bounds the cost: types can be made so that validating
/// their uses takes minutes.
///
/// # Errors
/// The reason why the file is refused. It must have passed [`check`].
pub(super) fn validate(wasm: &[u8]) -> Result<(), GateError> {
    let types = Validator::new_with_features(FEATURES).validate_all(wasm)?;
    world::check_types(types.as_ref())?;
    Ok(())
}

/// Checks a file's first bytes.
pub(super) fn check_beginning(wasm: &[u8]) -> Result<(), GateError> {
    if wasm.starts_with(b"\0asm") {
        return Ok(());
    }
    let text = wasm.trim_ascii_start();
    let is_text = [&b"(component"[..], b"(module", b"(;", b";;"].iter().any(|start| text.starts_with(start));
    Err(if is_text { GateError::Text } else { GateError::NotWasm })
}

/// Checks a file's length, before it is read.
pub(super) fn check_size(bytes: usize, limits: &PackageLimits) -> Result<(), GateError> {
    at_most("bytes", bytes as u64, limits.size as u64, "package")
}

fn at_most(what: &'static str, found: u64, limit: u64, key: &'static str) -> Result<(), GateError> {
    if found > limit { Err(GateError::TooMuch { what, found, limit, key }) } else { Ok(()) }
}

/// Counts that make a component expensive to validate and to compile, over all its parts.
#[derive(Default)]
struct Counts {
    functions: u32,
    modules: u32,
    components: u32,
    instances: u32,
    items: u32,
}

/// Checks the counts in the headers of sections, so that this costs no more than reading the file once.
fn check_counts(wasm: &[u8], limits: &PackageLimits) -> Result<(), GateError> {
    let mut counts = Counts::default();
    let mut first = true;
    for payload in Parser::new(0).parse_all(wasm) {
        let add = |count: &mut u32, more: u32| *count = count.saturating_add(more);
        match payload? {
            Payload::Version { encoding: Encoding::Module, .. } if first => return Err(GateError::CoreModule),
            Payload::CodeSectionStart { count, .. } => {
                add(&mut counts.functions, count);
                at_most("functions", counts.functions.into(), limits.functions.into(), "functions")?;
            }
            Payload::CodeSectionEntry(body) => {
                let size = body.range().len() as u64;
                at_most("bytes in one function", size, limits.function_size as u64, "function-size")?;
                let mut locals = 0_u64;
                for group in body.get_locals_reader()? {
                    locals += u64::from(group?.0);
                }
                at_most("local variables in one function", locals, limits.locals.into(), "locals")?;
            }
            Payload::ModuleSection { .. } => add(&mut counts.modules, 1),
            Payload::ComponentSection { .. } => add(&mut counts.components, 1),
            Payload::InstanceSection(section) => add(&mut counts.instances, section.count()),
            Payload::ComponentInstanceSection(section) => add(&mut counts.instances, section.count()),
            Payload::TypeSection(section) => {
                add(&mut counts.items, section.count());
                check_parameters(section)?;
            }
            Payload::CoreTypeSection(section) => add(&mut counts.items, section.count()),
            Payload::ComponentTypeSection(section) => add(&mut counts.items, section.count()),
            Payload::ImportSection(section) => add(&mut counts.items, section.count()),
            Payload::ExportSection(section) => add(&mut counts.items, section.count()),
            Payload::ComponentImportSection(section) => add(&mut counts.items, section.count()),
            Payload::ComponentExportSection(section) => add(&mut counts.items, section.count()),
            Payload::ComponentAliasSection(section) => add(&mut counts.items, section.count()),
            Payload::ComponentCanonicalSection(section) => {
                add(&mut counts.items, section.count());
                check_built_ins(section)?;
            }
            _ => {}
        }
        first = false;
        for (what, found, limit) in [
            ("core modules", counts.modules, PackageLimits::PARTS),
            ("nested components", counts.components, PackageLimits::PARTS),
            ("instances", counts.instances, PackageLimits::PARTS),
            ("types, imports and exports", counts.items, PackageLimits::ITEMS),
        ] {
            if found > limit {
                return Err(GateError::TooMany { what, found, limit });
            }
        }
    }
    Ok(())
}

/// Checks that a component uses no built-in function of the component model, and calls no function of another component. A
/// rule needs neither, and each is code of the host that untrusted code could reach: the compiler panics where two
/// components with a memory each call each other.
fn check_built_ins(section: wasmparser::ComponentCanonicalSectionReader<'_>) -> Result<(), GateError> {
    for function in section {
        match function? {
            CanonicalFunction::Lift { .. } => {}
            other => {
                let name = format!("{other:?}");
                let name = name.split([' ', '{', '(']).next().unwrap_or_default().to_owned();
                return Err(GateError::BuiltIn(name));
            }
        }
    }
    Ok(())
}

/// Checks parameters, which are local variables that a function's body does not list.
fn check_parameters(section: wasmparser::TypeSectionReader<'_>) -> Result<(), GateError> {
    for group in section {
        for sub_type in group?.into_types() {
            if let CompositeInnerType::Func(function) = sub_type.composite_type.inner {
                let (what, limit) = ("parameters or results of one function", PackageLimits::PARAMETERS);
                let found = u32::try_from(function.params().len().max(function.results().len())).unwrap_or(u32::MAX);
                if found > limit {
                    return Err(GateError::TooMany { what, found, limit });
                }
            }
        }
    }
    Ok(())
}

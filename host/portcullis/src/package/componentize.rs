//! Turns a core module with wit-bindgen's sections into a component. The build script uses this file too.

use anyhow::Result;
use wasm_encoder::{NameMap, NameSection, RawSection};
use wasmparser::{KnownCustom, Name, Naming, Parser, Payload};
use wit_component::ComponentEncoder;

/// Returns the component of a core module. It keeps the function names of the SDK and of the crate with this name.
pub(crate) fn component(core: &[u8], crate_name: &str) -> Result<Vec<u8>> {
    let module = with_own_names(core, crate_name)?;
    ComponentEncoder::default().validate(true).module(&module)?.encode()
}

/// Returns the module with only the names of the rule's and the SDK's functions, which backtraces of traps show. They
/// take a twentieth of the size of all names.
pub(crate) fn with_own_names(core: &[u8], crate_name: &str) -> Result<Vec<u8>> {
    let own = [crate_name.replace('-', "_"), "portcullis".to_owned()];
    let mut module = wasm_encoder::Module::new();
    for payload in Parser::new(0).parse_all(core) {
        let payload = payload?;
        if let Payload::CustomSection(section) = &payload
            && let KnownCustom::Name(names) = section.as_known()
        {
            let mut functions = NameMap::new();
            for subsection in names {
                let Name::Function(all) = subsection? else { continue };
                for naming in all {
                    let Naming { index, name } = naming?;
                    if own.iter().any(|own| name.contains(own)) {
                        functions.append(index, name);
                    }
                }
            }
            let mut names = NameSection::new();
            names.functions(&functions);
            module.section(&names);
        } else if let Some((id, range)) = payload.as_section() {
            module.section(&RawSection { id, data: &core[range] });
        }
    }
    Ok(module.finish())
}

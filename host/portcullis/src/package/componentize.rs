//! From a core module that wit-bindgen has prepared to a component. The build script uses this file too.

use anyhow::Result;
use wasm_encoder::{NameMap, NameSection, RawSection};
use wasmparser::{KnownCustom, Name, Naming, Parser, Payload};
use wit_component::ComponentEncoder;

/// The component of a core module of the crate with this name. Of the names of functions it keeps the crate's and the
/// SDK's.
pub(crate) fn component(core: &[u8], crate_name: &str) -> Result<Vec<u8>> {
    let module = with_own_names(core, crate_name)?;
    ComponentEncoder::default().validate(true).module(&module)?.encode()
}

/// The module with the names of the rule's and the SDK's functions only: what a trap's backtrace has to show, at a
/// twentieth of the size of all names.
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

//! A package taken apart and put together: a component, and the custom sections that make a package of it.

use wasmparser::{BinaryReaderError, Payload};

use super::sections;

/// The section with the signature: JSON with what is signed, whose key, and the signature.
pub(crate) const SIGNATURE: &str = "portcullis:signature";

/// What a package is made of. A part that is not there is none.
#[derive(Debug, Default)]
pub(crate) struct Parts<'a> {
    /// The file without the sections of the other parts.
    pub(crate) component: Vec<u8>,
    /// The spec: Panther's YAML.
    pub(crate) spec: Option<&'a [u8]>,
    /// The manifest: JSON.
    pub(crate) manifest: Option<&'a [u8]>,
    /// The signature: JSON.
    pub(crate) signature: Option<&'a [u8]>,
}

impl<'a> Parts<'a> {
    /// The parts of a file. Of a section that is there twice the last counts.
    ///
    /// # Errors
    /// The bytes are not WebAssembly's binary format.
    pub(crate) fn of(package: &'a [u8]) -> Result<Self, BinaryReaderError> {
        let mut parts = Self::default();
        let mut end = 0;
        for payload in sections::top_level(package) {
            let payload = payload?;
            let Payload::CustomSection(section) = &payload else { continue };
            let part = match section.name() {
                sections::SPEC => &mut parts.spec,
                sections::MANIFEST => &mut parts.manifest,
                SIGNATURE => &mut parts.signature,
                _ => continue,
            };
            *part = Some(section.data());
            let contents = section.range();
            // Before its contents stand the section's number, and their length as a variable-length number.
            let start = contents.start - 1 - length_of_length(package, contents.start);
            parts.component.extend(&package[end..start]);
            end = contents.end;
        }
        parts.component.extend(&package[end..]);
        Ok(parts)
    }

    /// The package of these parts: the component, spec, manifest and signature, in this order.
    pub(crate) fn assemble(&self) -> Vec<u8> {
        let mut package = self.component.clone();
        let parts = [(sections::SPEC, self.spec), (sections::MANIFEST, self.manifest), (SIGNATURE, self.signature)];
        for (name, data) in parts {
            if let Some(data) = data {
                sections::append(&mut package, name, data);
            }
        }
        package
    }
}

/// How many bytes a length before this place has: it ends with the only byte of it below 128.
fn length_of_length(package: &[u8], end: usize) -> usize {
    let continues = package[..end - 1].iter().rev().take(4).take_while(|byte| **byte >= 0x80).count();
    1 + continues
}

//! Takes a package apart and assembles it: a component, and the custom sections that make a package of it.

use wasmparser::{BinaryReaderError, Payload};

use super::sections;

/// The section with the signature: JSON with the signed statement, the key and the signature.
pub(crate) const SIGNATURE: &str = "portcullis:signature";

/// The parts of a package.
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
    /// Returns the parts of a file. If a section occurs more than once, the last one counts.
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
            // The section's number, and its length as a variable-length number, precede its contents.
            let start = contents.start - 1 - length_of_length(package, contents.start);
            parts.component.extend(&package[end..start]);
            end = contents.end;
        }
        parts.component.extend(&package[end..]);
        Ok(parts)
    }

    /// Returns the package with these parts: component, spec, manifest and signature, in this order.
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

/// Returns the size of the variable-length number that ends before `end`. Only its last byte is below 128.
fn length_of_length(package: &[u8], end: usize) -> usize {
    let continues = package[..end - 1].iter().rev().take(4).take_while(|byte| **byte >= 0x80).count();
    1 + continues
}

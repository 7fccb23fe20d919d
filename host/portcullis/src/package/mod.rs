//! Packages: one version of one rule in one file, with a component, its spec and its manifest.

mod cache;
mod candidate;
mod compile_child;
mod compiler;
mod componentize;
mod gate;
mod manifest;
mod pack;
mod parts;
mod precompile;
mod prefilter;
mod sections;
mod signature;
mod spec;
mod world;

use std::fmt;
use std::sync::Arc;

use portcullis_alert::{About, printable};
use portcullis_event::LogType;
use thiserror::Error;
use wasmtime::component::{Component, Linker};

pub use cache::{Cache, CacheError};
pub use candidate::Candidate;
pub use compile_child::run_compile_child;
pub use compiler::Compiler;
pub use gate::GateError;
pub use manifest::{Manifest, ManifestError};
pub use pack::{PackError, Packed, Recipe, pack};
pub use precompile::CompileError;
pub use prefilter::{Field, Pattern, Prefilter, PrefilterError};
pub use signature::{KeyError, PublicKey, SignatureError, SigningKey};
pub use spec::{Severity, Spec, SpecError, TestCase};
pub use world::{RULE_INTERFACE, WORLD, WorldError};

use crate::engine::Engine;
use crate::guest::State;
use crate::guest::bindings::DetectionPre;

/// A checked and compiled package. Clones are the same package.
#[derive(Clone)]
pub struct Package(Arc<Inner>);

struct Inner {
    candidate: Arc<Candidate>,
    /// The details of the rule that all of its alerts contain.
    about: Arc<About>,
    surface: Surface,
    component: DetectionPre<State>,
    /// Limit for its stack, in bytes.
    stack: usize,
}

/// The imports and exports of a component.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Surface {
    /// Names of its imports.
    pub imports: Vec<String>,
    /// Names of its exports.
    pub exports: Vec<String>,
}

/// Sizes in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sizes {
    /// The whole file.
    pub package: usize,
    /// The component: the file without the texts of spec, manifest and signature.
    pub component: usize,
    /// The spec.
    pub spec: usize,
    /// The manifest.
    pub manifest: usize,
    /// The signature.
    pub signature: usize,
}

/// A file that is not a valid package.
#[derive(Debug, Error)]
#[error("{origin}: {}", self.reason())]
pub struct PackageError {
    /// Origin of the bytes.
    pub origin: String,
    /// The reason why they are refused.
    pub reason: Refusal,
}

/// The reason why a package is refused.
#[derive(Debug, Error)]
pub enum Refusal {
    /// Its signature is missing, is not trusted, or does not match.
    #[error("{0}")]
    Signature(SignatureError),
    /// It does not implement our world.
    #[error("not a rule's component: {0}")]
    Gate(GateError),
    /// A section is missing or occurs more than once.
    #[error(
        "not a package: it has {found} custom sections {name}; expected one. A package is a component with its spec \
         and manifest"
    )]
    Section {
        /// The section's name.
        name: &'static str,
        /// Number of sections with this name.
        found: usize,
    },
    /// The spec cannot be read.
    #[error("its spec is refused: {0}")]
    Spec(SpecError),
    /// The manifest cannot be read.
    #[error("its manifest is refused: {0}")]
    Manifest(ManifestError),
    /// A section is longer than it may be.
    #[error("its section {name} has {found} bytes; the limit is {limit}")]
    LongSection {
        /// The section's name.
        name: &'static str,
        /// Its length, in bytes.
        found: usize,
        /// The limit, in bytes.
        limit: usize,
    },
    /// The component is not valid, or does not compile.
    #[error(transparent)]
    Compile(CompileError),
}

impl PackageError {
    /// Returns whether the machine caused the error, and not the package, so that another try may succeed.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        matches!(
            self.reason,
            Refusal::Compile(CompileError::Killed | CompileError::Starved(_) | CompileError::Process(_))
        )
    }

    /// Returns the reason as one line of bounded length, because it may contain text of an untrusted package.
    #[must_use]
    pub fn reason(&self) -> String {
        one_line(&self.reason.to_string())
    }
}

/// Limit for a reason, in characters.
const LONGEST_REASON: usize = 1_000;

/// Returns text that may contain untrusted text as one line of bounded length.
pub(crate) fn one_line(text: &str) -> String {
    let mut line: String = text.chars().take(LONGEST_REASON).collect();
    if line.len() < text.len() {
        line.push('…');
    }
    printable(&line)
}

impl Package {
    /// Checks a package and compiles its component in this process. Use it for trusted packages only; for all others,
    /// use a [`Compiler`] with a child process. `origin` says in messages where the bytes came from.
    ///
    /// # Errors
    /// The bytes are not a valid package.
    pub fn load(engine: &Engine, bytes: &[u8], origin: &str) -> Result<Self, PackageError> {
        Compiler::new(engine.clone()).package(bytes, origin)
    }

    /// Returns the rule's id, from the spec.
    #[must_use]
    pub fn rule_id(&self) -> &str {
        self.0.candidate.rule_id()
    }

    /// Returns the rule's version, from the manifest.
    #[must_use]
    pub fn version(&self) -> &semver::Version {
        self.0.candidate.version()
    }

    /// Returns the origin of the bytes.
    #[must_use]
    pub fn origin(&self) -> &str {
        self.0.candidate.origin()
    }

    /// Returns the spec.
    #[must_use]
    pub fn spec(&self) -> &Spec {
        &self.0.candidate.spec
    }

    /// Returns the details of the rule that all of its alerts contain.
    pub(crate) fn about(&self) -> &Arc<About> {
        &self.0.about
    }

    /// Returns the prefilter, which all matching events fulfil.
    #[must_use]
    pub fn prefilter(&self) -> &Prefilter {
        &self.0.candidate.manifest.prefilter
    }

    /// Returns the key that signed it, if it is signed.
    #[must_use]
    pub fn signer(&self) -> Option<&PublicKey> {
        self.0.candidate.signer()
    }

    /// Returns the component's imports, always an empty list, and its exports.
    #[must_use]
    pub fn surface(&self) -> &Surface {
        &self.0.surface
    }

    /// Returns its sizes.
    #[must_use]
    pub fn sizes(&self) -> Sizes {
        self.0.candidate.sizes
    }

    /// Returns the SHA-256 of the file, in lower-case hexadecimal digits.
    #[must_use]
    pub fn sha256(&self) -> &str {
        self.0.candidate.sha256()
    }

    /// Returns the bytes of the file.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.0.candidate.bytes
    }

    /// Returns the usual name of its file: `<RuleID>@<version>.wasm`.
    #[must_use]
    pub fn file_name(&self) -> String {
        self.0.candidate.file_name()
    }

    /// Returns whether the rule subscribes to this log type.
    pub(crate) fn subscribes_to(&self, log_type: LogType) -> bool {
        self.spec().log_types.contains(&log_type)
    }

    pub(crate) fn candidate(&self) -> &Candidate {
        &self.0.candidate
    }

    pub(crate) fn component(&self) -> &DetectionPre<State> {
        &self.0.component
    }

    pub(crate) fn stack(&self) -> usize {
        self.0.stack
    }
}

impl PartialEq for Package {
    /// Returns whether both are clones of one package.
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl fmt::Debug for Package {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Package({} {} from {})", self.rule_id(), self.version(), self.origin())
    }
}

impl Inner {
    /// Links a compiled component, which has no imports.
    fn new(engine: &Engine, candidate: Arc<Candidate>, component: &Component) -> Result<Self, CompileError> {
        let refused = |error| CompileError::Refused(format!("{error:#}"));
        let linked = Linker::new(engine.wasmtime()).instantiate_pre(component).map_err(refused)?;
        let names = component.component_type();
        let surface = Surface {
            imports: names.imports(engine.wasmtime()).map(|(name, _)| name.to_owned()).collect(),
            exports: names.exports(engine.wasmtime()).map(|(name, _)| name.to_owned()).collect(),
        };
        let component = DetectionPre::new(linked).map_err(refused)?;
        let about = Arc::new(about(&candidate));
        Ok(Self { candidate, about, surface, component, stack: engine.stack() })
    }
}

fn about(candidate: &Candidate) -> About {
    let (spec, manifest) = (&candidate.spec, &candidate.manifest);
    About {
        rule_id: spec.rule_id.clone(),
        rule_version: manifest.version.to_string(),
        severity: spec.severity,
        dedup_period_minutes: spec.dedup_period_minutes,
        mitre: spec.mitre().to_vec().into(),
        reference: spec.reference.clone().into(),
        runbook: spec.runbook.clone().into(),
        tags: spec.tags.clone().into(),
    }
}

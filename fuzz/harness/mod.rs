//! The harnesses of the fuzz targets. The tests run them on the seeds and on mutations of the seeds
//! (`tests/fuzzing.rs`).
//!
//! A harness panics only if the project breaks a guarantee. Refusing bytes does not break one.

mod answer;
mod component;
mod output;
mod package;
mod record;
mod spec;

pub(crate) use answer::answer;
pub(crate) use package::package;
pub(crate) use record::record;
pub(crate) use spec::spec;

//! What the fuzz targets do with their bytes. The tests run the same over the seeds and near them (`tests/fuzzing.rs`).
//!
//! A harness panics exactly when the project breaks a promise: that bytes are refused is none.

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

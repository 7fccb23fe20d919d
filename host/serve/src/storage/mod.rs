//! Files of the service: whole lines and whole files, on the disk before a caller is answered.

mod append_log;
mod data;
mod log_file;
mod recent;
pub(crate) mod spool;

pub(crate) use append_log::{AppendLog, Line, NotWritten};
pub use data::DataFolder;
pub(crate) use data::{write_or_remove, write_whole};
pub(crate) use recent::AlertId;

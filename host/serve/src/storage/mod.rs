//! Files of the service: whole lines and whole files, on the disk before a caller is answered.

mod append_log;
mod data;
mod known;
mod log_file;
mod log_thread;
mod recent;
pub(crate) mod spool;

pub(crate) use append_log::AppendLog;
pub use data::DataFolder;
pub(crate) use known::{LineId, Repeats};
pub(crate) use log_file::BATCH_END;
pub(crate) use log_thread::{Line, NotWritten};

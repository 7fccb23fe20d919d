//! Source addresses: reading them as clouds and proxies write them, and telling public ones from all others.

mod special_purpose;

pub use special_purpose::*;

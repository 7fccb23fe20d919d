//! Source addresses: reading them as clouds and proxies write them, and deciding which are public.

mod parse;
mod scope;
mod special_purpose;

pub use parse::parse;
pub use scope::SourceScope;
pub use special_purpose::{SPECIAL_PURPOSE, is_global};

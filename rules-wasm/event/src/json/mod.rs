//! Reading JSON whose values may have unexpected types.
//!
//! A value is read only where it is needed. A value of an unexpected type is [`Malformed`](Read::Malformed), and never
//! an error that would lose the record. Nothing here recurses, so values that are skipped or kept raw may be nested to
//! any depth.

pub(crate) mod cut;
mod error;
mod escape;
mod fields;
mod length;
mod members;
mod names;
mod quoted;
mod raw;
mod read;
mod reader;
mod text;
mod utf8;
mod value;

pub use escape::write_text;
pub use length::string_length;
pub use members::{Members, integer, items, members, object, text};
pub use names::joined;
pub use raw::Raw;
pub use read::Read;
pub use text::Text;

pub(crate) use error::not_an_object;
pub(crate) use escape::unescape;
pub(crate) use fields::{members_in_any_case, named, one_text, text_of, texts};
pub(crate) use length::value_length;
pub(crate) use names::Names;
pub(crate) use reader::Reader;
pub(crate) use utf8::utf8;
pub(crate) use value::{Document, Value};

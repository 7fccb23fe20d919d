//! Reading JSON that its writer may have got wrong: a value is looked at only where it is wanted, and one of another
//! type than expected is [`Malformed`](Read::Malformed), never an error that would lose the record.
//!
//! Nothing here recurses: what is skipped or kept raw may be nested as deep as its writer liked.

pub(crate) mod cut;
mod error;
mod escape;
mod fields;
mod length;
mod members;
mod names;
mod raw;
mod read;
mod text;
mod utf8;
mod value;

pub use escape::is_written_as_it_is;
pub use members::{Members, integer, items, members, object, text};
pub use names::joined;
pub use raw::Raw;
pub use read::Read;
pub use text::Text;

pub(crate) use error::not_an_object;
pub(crate) use escape::unescape;
pub(crate) use fields::{members_in_any_case, named, one_text, text_of, texts};
pub(crate) use length::{string_length, value_length};
pub(crate) use names::Names;
pub(crate) use utf8::utf8;
pub(crate) use value::{Document, Value};

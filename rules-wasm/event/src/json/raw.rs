//! JSON that is handed on as it was written.

use serde::Serialize;
use serde::ser::SerializeStruct as _;

/// The text of one valid JSON value, without white space around it. As JSON it is that value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Raw<'a>(&'a str);

impl<'a> Raw<'a> {
    /// A text that is known to be one.
    pub(crate) fn known(text: &'a str) -> Self {
        Self(text)
    }

    /// The text.
    #[must_use]
    pub fn get(self) -> &'a str {
        self.0
    }
}

impl Serialize for Raw<'_> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        // Only of serde_json's own type its writer knows that it is JSON already. That could be had of this text by
        // reading it once more; so this is what it says to its writer.
        const RAW_VALUE: &str = "$serde_json::private::RawValue";
        let mut value = serializer.serialize_struct(RAW_VALUE, 1)?;
        value.serialize_field(RAW_VALUE, self.0)?;
        value.end()
    }
}

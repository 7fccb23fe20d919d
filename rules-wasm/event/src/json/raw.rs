//! JSON that is passed on as it is written.

use serde::Serialize;
use serde::ser::SerializeStruct as _;

/// The text of one valid JSON value, without white space around it. Serialized as JSON, it is that value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Raw<'a>(&'a str);

impl<'a> Raw<'a> {
    /// A text that is known to be one JSON value.
    pub(crate) fn known(text: &'a str) -> Self {
        Self(text)
    }

    /// Serializes a text that is known to be one JSON value as that value.
    ///
    /// # Errors
    /// The serializer fails.
    pub fn serialize_known<S: serde::Serializer>(text: &str, serializer: S) -> Result<S::Ok, S::Error> {
        Raw(text).serialize(serializer)
    }

    /// The text.
    #[must_use]
    pub fn get(self) -> &'a str {
        self.0
    }
}

impl Serialize for Raw<'_> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        // serde_json's writer copies JSON only from its own `RawValue`, which would read this text once more. So this
        // type uses the name by which the writer knows `RawValue`.
        const RAW_VALUE: &str = "$serde_json::private::RawValue";
        let mut value = serializer.serialize_struct(RAW_VALUE, 1)?;
        value.serialize_field(RAW_VALUE, self.0)?;
        value.end()
    }
}

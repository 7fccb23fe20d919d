//! Numbers, sizes and durations.

use std::ops::RangeInclusive;

use bytesize::ByteSize;
use jiff::SignedDuration;
use serde::Deserialize;
use toml::Spanned;

use super::source::{ConfigError, Source};

/// A number, or a string of a number and its unit.
#[derive(Debug, Deserialize)]
#[serde(untagged, expecting = "expected a number, or a string with a unit such as \"16MiB\" or \"10ms\"")]
pub(super) enum Quantity {
    Number(u64),
    Text(String),
}

/// A key's value, if it has one.
pub(super) type Given = Option<Spanned<Quantity>>;

pub(super) const KIB: u64 = 1 << 10;
pub(super) const MIB: u64 = 1 << 20;
pub(super) const GIB: u64 = 1 << 30;

/// The unit of a number.
#[derive(Clone, Copy)]
pub(super) enum Unit {
    None,
    Bytes,
    Milliseconds,
}

impl Unit {
    /// Returns the value of a key, if it is given, and checks its range.
    pub(super) fn given(
        self,
        key: &str,
        given: &Given,
        range: RangeInclusive<u64>,
        source: &Source,
    ) -> Result<Option<u64>, ConfigError> {
        let Some(given) = given else { return Ok(None) };
        let value = self.read(given.get_ref()).filter(|value| range.contains(value));
        value
            .map(Some)
            .ok_or_else(|| source.error_at(given.span(), format!("{key}: expected {}", self.expected(&range))))
    }

    fn read(self, quantity: &Quantity) -> Option<u64> {
        match (self, quantity) {
            (Self::None | Self::Bytes, Quantity::Number(number)) => Some(*number),
            (Self::Bytes, Quantity::Text(text)) => text.parse::<ByteSize>().ok().map(|size| size.as_u64()),
            (Self::Milliseconds, Quantity::Text(text)) => {
                let duration: SignedDuration = text.parse().ok()?;
                u64::try_from(duration.as_millis()).ok().filter(|_| duration.subsec_nanos() % 1_000_000 == 0)
            }
            // A duration needs a unit, and a count has none.
            (Self::Milliseconds, Quantity::Number(_)) | (Self::None, Quantity::Text(_)) => None,
        }
    }

    fn expected(self, range: &RangeInclusive<u64>) -> String {
        let (least, most) = (range.start(), range.end());
        match self {
            Self::None => format!("a number from {least} to {most}"),
            Self::Bytes => {
                format!("a number of bytes, or a size such as \"64KiB\", from {} to {}", size(*least), size(*most))
            }
            Self::Milliseconds => {
                format!("a duration such as \"10ms\" or \"2s\", from {} to {}", duration(*least), duration(*most))
            }
        }
    }
}

/// Returns a size as the config accepts it, such as `64KiB`.
fn size(bytes: u64) -> String {
    let units = [(GIB, "GiB"), (MIB, "MiB"), (KIB, "KiB")];
    let unit = units.into_iter().find(|(unit, _)| bytes >= *unit && bytes.is_multiple_of(*unit));
    unit.map_or_else(|| bytes.to_string(), |(unit, name)| format!("{}{name}", bytes / unit))
}

/// Returns a duration as the config accepts it, such as `10ms` or `1h`.
fn duration(milliseconds: u64) -> String {
    let milliseconds = i64::try_from(milliseconds).unwrap_or(i64::MAX);
    format!("{:#}", SignedDuration::from_millis(milliseconds))
}

//! Whether the source addresses of an event are public.

use serde::Serialize;

use super::parse::parse;
use super::special_purpose::is_global;

/// Whether a request came from a public address, judged by all source addresses of an event together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum SourceScope {
    /// At least one address parses, and every one that parses is globally reachable.
    Public,
    /// At least one address parses that is not globally reachable.
    Internal,
    /// No address parses.
    #[default]
    None,
}

impl SourceScope {
    /// Returns the scope of a list of addresses. Addresses that do not parse are skipped.
    pub fn of<'a>(addresses: impl IntoIterator<Item = &'a str>) -> Self {
        let mut scope = Self::None;
        for address in addresses.into_iter().filter_map(parse) {
            if !is_global(address) {
                return Self::Internal;
            }
            scope = Self::Public;
        }
        scope
    }

    /// Returns the scope with this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        [Self::Public, Self::Internal, Self::None].into_iter().find(|scope| scope.as_str() == name)
    }

    /// The scope's name in an event's JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Public => "public",
            Self::Internal => "internal",
            Self::None => "none",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_internal_address_decides_and_texts_that_do_not_parse_are_skipped() {
        for (addresses, scope) in [
            (&[][..], SourceScope::None),
            (&["private"], SourceScope::None),
            (&["1.2.3.4"], SourceScope::Public),
            (&["not-an-ip", "1.2.3.4"], SourceScope::Public),
            (&["1.2.3.4", "10.0.0.1"], SourceScope::Internal),
            (&["10.0.0.1", "1.2.3.4"], SourceScope::Internal),
        ] {
            assert_eq!(SourceScope::of(addresses.iter().copied()), scope, "{addresses:?}");
        }
    }
}

//! Names of tenants, clients and sinks.

use toml::Spanned;

use super::source::{ConfigError, Source};

/// Returns whether a name is well-formed. It becomes part of file names and metrics.
fn is_name(name: &str) -> bool {
    (1..=64).contains(&name.len())
        && !name.chars().all(|c| c == '.')
        && name.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
}

const NAME: &str = "expected 1 to 64 of the characters a-z, A-Z, 0-9, - _ and ., not all of them .";

/// The names so far.
pub(super) type Names<'n> = Vec<&'n str>;

/// Returns a name that is well-formed and new, and adds it to `names`. `of` is what it names, in the plural.
pub(super) fn new_name<'n>(
    source: &Source,
    of: &str,
    name: &'n Spanned<String>,
    names: &mut Names<'n>,
) -> Result<&'n str, ConfigError> {
    if !is_name(name.get_ref()) {
        return Err(source.error(name, format!("name: {:?}: {NAME}", name.get_ref())));
    }
    if names.contains(&&**name.get_ref()) {
        return Err(source.error(name, format!("name: {:?} is the name of two {of}", name.get_ref())));
    }
    names.push(name.get_ref());
    Ok(name.get_ref())
}

//! The rules that come with the host: every rule under `rules-wasm/`, as the package that the build script made of it.

/// Crate name and package of each rule, by name.
pub const PACKAGES: &[(&str, &[u8])] = include!(concat!(env!("OUT_DIR"), "/embedded.rs"));

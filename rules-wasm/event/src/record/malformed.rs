//! Fields of a record that have a wrong type.

use crate::json::{self, Names, Read, Text, Value};

/// The paths of fields with a wrong type, under the path of the audit event in its record.
pub(crate) struct Malformed<'a> {
    prefix: &'static str,
    paths: Vec<Text<'a>>,
}

impl<'a> Malformed<'a> {
    pub(crate) fn under(prefix: &'static str) -> Self {
        Self { prefix, paths: Vec::new() }
    }

    pub(crate) fn into_paths(self) -> Vec<Text<'a>> {
        self.paths
    }

    pub(crate) fn note(&mut self, path: &'static str) {
        let prefix = self.prefix;
        self.paths.push(if prefix.is_empty() { path.into() } else { format!("{prefix}.{path}").into() });
    }

    /// Returns what was read, if it has the right type. Adds the path if it is malformed.
    pub(crate) fn check<T>(&mut self, path: &'static str, read: Read<T>) -> Option<T> {
        if matches!(read, Read::Malformed) {
            self.note(path);
        }
        read.present()
    }

    pub(crate) fn text<'r>(&mut self, path: &'static str, value: Option<Value<'r, '_>>) -> Option<Text<'r>> {
        self.check(path, json::one_text(value))
    }

    /// Returns the members of an object. All are absent if the object is malformed.
    pub(crate) fn object<'r, 't, const N: usize>(
        &mut self,
        path: &'static str,
        value: Option<Value<'r, 't>>,
        names: &Names<'_, N>,
    ) -> [Option<Value<'r, 't>>; N] {
        self.check(path, json::named(value, names)).unwrap_or([None; N])
    }

    pub(crate) fn texts<'r>(
        &mut self,
        path: &'static str,
        value: Option<Value<'r, '_>>,
        lone_text: bool,
    ) -> Vec<Text<'r>> {
        let (texts, dropped) = self.check(path, json::texts(value, lone_text)).unwrap_or_default();
        if dropped {
            self.note(path);
        }
        texts
    }
}

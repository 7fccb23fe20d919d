//! The text of a config, and errors that name its file and line.

use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};

use thiserror::Error;
use toml::Spanned;

/// A config as it was read.
#[derive(Debug)]
pub(crate) struct Source {
    file: PathBuf,
    text: String,
}

/// A config that cannot be used.
#[derive(Debug, Error)]
pub(crate) struct ConfigError {
    /// The file.
    file: PathBuf,
    /// The line of the error, from 1, if it has one.
    pub(super) line: Option<usize>,
    /// What is wrong, and what was expected.
    pub(super) what: String,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, line, what } = self;
        match line {
            Some(line) => write!(formatter, "{}:{line}: {what}", file.display()),
            None => write!(formatter, "{}: {what}", file.display()),
        }
    }
}

impl Source {
    /// Reads a file.
    pub(super) fn read(file: &Path) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(file).map_err(|error| ConfigError {
            file: file.to_owned(),
            line: None,
            what: format!("cannot be read: {error}"),
        })?;
        Ok(Self { file: file.to_owned(), text })
    }

    /// Returns a source without a file.
    pub(super) fn of_text(text: &str) -> Self {
        Self { file: PathBuf::new(), text: text.to_owned() }
    }

    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// Returns a path of the config, which is relative to the config's folder.
    pub(super) fn path(&self, path: &Path) -> PathBuf {
        self.file.parent().unwrap_or(Path::new("")).join(path)
    }

    /// Returns an error about a value.
    pub(super) fn error<T>(&self, culprit: &Spanned<T>, what: impl Into<String>) -> ConfigError {
        self.error_at(culprit.span(), what)
    }

    /// Returns an error about a span of the text.
    pub(super) fn error_at(&self, culprit: Range<usize>, what: impl Into<String>) -> ConfigError {
        ConfigError { line: Some(self.line(&culprit)), ..self.error_in_all(what) }
    }

    /// Returns an error about the whole config.
    pub(super) fn error_in_all(&self, what: impl Into<String>) -> ConfigError {
        ConfigError { file: self.file.clone(), line: None, what: what.into() }
    }

    /// Returns the parser's error, with the key to which it belongs.
    pub(super) fn parse_error(&self, error: &toml::de::Error) -> ConfigError {
        let line = error.span().map(|span| self.line(&span));
        let key = line.and_then(|line| self.key_at(line));
        let key = key.filter(|key| !error.message().contains(&format!("`{key}`")));
        let what = key.map(|key| format!("{key}: ")).unwrap_or_default() + error.message();
        ConfigError { line, ..self.error_in_all(what) }
    }

    /// Returns the line of a span, from 1.
    pub(super) fn line(&self, span: &Range<usize>) -> usize {
        let before = self.text.as_bytes().get(..span.start).unwrap_or(self.text.as_bytes());
        1 + memchr::memchr_iter(b'\n', before).count()
    }

    /// Returns the key or table at a line, or the last one before it.
    fn key_at(&self, line: usize) -> Option<&str> {
        let lines: Vec<&str> = self.text.lines().take(line).collect();
        lines.into_iter().rev().find_map(key_in)
    }
}

fn key_in(line: &str) -> Option<&str> {
    let line = line.trim_start();
    let (key, others) = match line.strip_prefix('[') {
        Some(table) => (table.trim_start_matches('[').split(']').next()?, "_-."),
        None => (line.split_once('=')?.0, "_-"),
    };
    let key = key.trim();
    let is_key = !key.is_empty() && key.chars().all(|c| c.is_alphanumeric() || others.contains(c));
    is_key.then_some(key)
}

//! Records in texts: as JSON, behind a prefix, in base64, with their ends missing.

use super::{Around, Decoded, Found, Part, Search, WORK};
use crate::cut;
use crate::record::{Outcome, Rejected};
use crate::tokens::Tokens;
use crate::value::Document;

/// So many places are tried at which JSON may begin behind a prefix.
const PREFIXES: usize = 4;

/// What base64 of JSON, of gzip and of zstd begins with.
const BASE64: [&str; 10] = ["eyJ", "eyA", "ewo", "ew0", "W3s", "W3t", "Wwo", "WyJ", "H4sI", "KLUv"];

/// A record in base64 is longer than that.
const SHORTEST: usize = 24;

impl<E> Search<'_, E> {
    /// A text that may hold JSON.
    pub(super) fn text(&mut self, text: &str, around: Around<'_, E>) -> Result<Found, E> {
        if around.depth == 0 || !self.may_read(text) {
            return Ok(Found::Nothing);
        }
        let text = text.trim_start_matches('\u{feff}').trim_ascii();
        if text.starts_with(['{', '[', '"']) {
            let found = self.json(text, around)?;
            if found == Found::Records || text.starts_with('{') {
                return Ok(found);
            }
        }
        if may_be_base64(text) {
            return self.base64(text, around);
        }
        if text.contains('\n') {
            let lines = text.lines().map(str::trim_ascii).filter(|line| !line.is_empty());
            return self.list(lines.map(Part::Text), around.deeper());
        }
        let mut rest = text;
        for _ in 0..PREFIXES {
            let Some(start) = object_in(rest) else { break };
            rest = &rest[start..];
            if self.json(rest, around.deeper())? == Found::Records {
                return Ok(Found::Records);
            }
            rest = &rest[1..];
        }
        Ok(Found::Nothing)
    }

    /// A text that begins like JSON.
    fn json(&mut self, text: &str, around: Around<'_, E>) -> Result<Found, E> {
        if !self.may_read(text) {
            return Ok(Found::Nothing);
        }
        if let Some(document) = Document::read(text, &mut Tokens::default()) {
            return self.value(document.value(), Around { cut: None, ..around });
        }
        let mut parts = Parts(text);
        if parts.next().is_some() && !parts.0.is_empty() {
            return self.list(Parts(text).map(Part::Text), around);
        }
        match self.record(text, false, around)? {
            Found::Records => Ok(Found::Records),
            Found::Nothing => self.cut(text, around),
        }
    }

    /// What holds records, and has its end missing: those that are whole, and the one in which it ends.
    fn cut(&mut self, text: &str, around: Around<'_, E>) -> Result<Found, E> {
        let mut closed = String::new();
        if let Some(end) = cut::close(text, &mut closed)
            && let Some(document) = Document::read(&closed, &mut Tokens::default())
            && self.value(document.value(), Around { cut: Some(end), ..around })? == Found::Records
        {
            return Ok(Found::Records);
        }
        if let Some(start) = cut::close_string(text, &mut closed)
            && let Some(document) = Document::read(&closed, &mut Tokens::default())
            && self.value(document.value(), Around { cut: Some(start), ..around })? == Found::Records
        {
            return Ok(Found::Records);
        }
        // What begins like a record and is not JSON is one that is broken, if it speaks of being one.
        let speaks = || text.contains("\"auditID\"") || text.contains("audit.k8s.io/");
        if around.path.is_empty() || !speaks() {
            return Ok(Found::Nothing);
        }
        if let Some(lists) = around.lists {
            lists.flush(self)?;
        }
        self.nothing(text, around.path)?;
        Ok(Found::Records)
    }

    fn base64(&mut self, text: &str, around: Around<'_, E>) -> Result<Found, E> {
        match (self.decode)(text, self.left) {
            Decoded::Nothing => Ok(Found::Nothing),
            Decoded::TooLong => {
                let max = self.left;
                self.show(text, around, Outcome::Rejected(Rejected::TooLong { length: max as u64 + 1, max }))
            }
            Decoded::Bytes(bytes) => {
                self.left = self.left.saturating_sub(bytes.len());
                self.work = self.work.saturating_add(WORK * bytes.len());
                match String::from_utf8(bytes) {
                    Ok(text) => self.text(&text, around.deeper()),
                    Err(_) => Ok(Found::Nothing),
                }
            }
        }
    }
}

/// Where an object with members begins.
fn object_in(text: &str) -> Option<usize> {
    let mut brackets = text.match_indices('{');
    brackets.find_map(|(at, _)| text[at + 1..].trim_ascii_start().starts_with('"').then_some(at))
}

/// Whether a text begins like base64 of something that is looked into, and goes on like base64.
fn may_be_base64(text: &str) -> bool {
    let is_base64 = |byte: u8| byte.is_ascii_alphanumeric() || b"+/-_=\r\n".contains(&byte);
    text.len() >= SHORTEST
        && BASE64.iter().any(|start| text.starts_with(start))
        && text.bytes().take(2 * SHORTEST).all(is_base64)
}

/// Values that stand one after the other, with nothing but white space or a comma between them; the last one is whatever is left.
#[derive(Clone)]
struct Parts<'t>(&'t str);

impl<'t> Iterator for Parts<'t> {
    type Item = &'t str;

    fn next(&mut self) -> Option<&'t str> {
        if self.0.is_empty() {
            return None;
        }
        let (value, behind) = self.0.split_at(cut::value_length(self.0).unwrap_or(self.0.len()));
        self.0 = behind.trim_start_matches(|c: char| c.is_ascii_whitespace() || c == ',');
        Some(value)
    }
}

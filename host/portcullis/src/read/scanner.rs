//! Finds the end of a JSON value, in a stream of bytes that may be cut or broken anywhere.

use portcullis_event::LISTS;

/// Tracks strings and brackets only; the reader of the value checks whether it is JSON. A broken value ends as early as
/// possible, so that it does not affect its neighbours: a string ends with its line, because JSON strings contain no
/// line ends, and a list or object ends with the bracket that closes the surrounding one.
#[derive(Debug, Default)]
pub(super) struct Scanner {
    /// The open brackets.
    open: Vec<u8>,
    in_string: bool,
    escaped: bool,
    kind: Kind,
    /// The last byte outside of strings that is not white space. A string counts as its quote.
    last: u8,
    key: Key,
}

/// The kind of value, by its beginning.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Kind {
    /// A list, an object or a string.
    #[default]
    Bracketed,
    /// A number or a word.
    Bare,
    /// Something else: perhaps the rest of an object, which ends with a closing bracket.
    Damaged,
}

/// Result of scanning bytes. Offsets are into these bytes.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// The value includes all bytes, and continues.
    More,
    /// The value ends before this offset.
    End(usize),
    /// The value is an object, and one of its [`LISTS`] begins at this offset, after the bracket.
    List(usize),
    /// A line begins at this offset, inside the value.
    Line(usize),
}

/// The last member name of the outermost object, if it is short.
#[derive(Debug, Default)]
struct Key {
    bytes: [u8; 16],
    /// Larger than `bytes` if the name is too long or contains escapes.
    length: usize,
    open: bool,
}

impl Key {
    fn extend(&mut self, part: &[u8]) {
        if let Some(room) = self.bytes.get_mut(self.length..self.length.saturating_add(part.len())) {
            room.copy_from_slice(part);
        }
        self.length = self.length.saturating_add(part.len());
    }

    fn list(&self) -> Option<&'static str> {
        let name = self.bytes.get(..self.length)?;
        LISTS.into_iter().find(|list| list.as_bytes() == name)
    }
}

impl Scanner {
    /// Returns the last byte that is neither white space nor inside a string.
    pub(super) fn last(&self) -> u8 {
        self.last
    }

    /// Returns whether the value is broken.
    pub(super) fn is_damaged(&self) -> bool {
        self.kind == Kind::Damaged
    }

    /// Returns the name of the list that has begun.
    pub(super) fn list(&self) -> Option<&'static str> {
        self.key.list()
    }

    /// Continues with these bytes. The first call begins with the value's first byte.
    pub(super) fn feed(&mut self, bytes: &[u8]) -> Step {
        let mut at = 0;
        while at < bytes.len() {
            if self.in_string {
                match self.string(&bytes[at..]) {
                    Some(end) => at += end,
                    None => return Step::More,
                }
                if bytes[at - 1] == b'\n' {
                    return if self.open.is_empty() { Step::End(at - 1) } else { Step::Line(at) };
                }
                if self.open.is_empty() && !self.in_string {
                    return Step::End(at);
                }
                continue;
            }
            let byte = bytes[at];
            let before = self.last;
            if self.kind == Kind::Bare && matches!(byte, b'"' | b':') {
                self.kind = Kind::Damaged;
                self.open.push(b'{');
            }
            if self.kind == Kind::Bare
                && matches!(byte, b',' | b']' | b'}' | b'[' | b'{' | b' ' | b'\t' | b'\r' | b'\n')
            {
                return Step::End(at);
            }
            // In an object, a name follows a comma, so this is the next item of a list.
            if self.kind == Kind::Damaged && self.open == [b'{'] && byte == b'{' && before == b',' {
                return Step::End(at);
            }
            at += 1;
            if !matches!(byte, b' ' | b'\t' | b'\r' | b'\n') {
                self.last = byte;
            }
            match byte {
                // In a broken value, a quote that cannot begin a string ends one whose beginning is missing.
                b'"' if self.kind == Kind::Damaged && !matches!(before, b'{' | b'[' | b':' | b',') => {}
                b'"' => {
                    self.in_string = true;
                    if self.open == [b'{'] && matches!(before, b'{' | b',') {
                        self.key = Key { open: true, ..Key::default() };
                    }
                }
                b'{' => self.open.push(byte),
                b'[' => {
                    let member = self.open == [b'{'] && before == b':';
                    self.open.push(byte);
                    if member && self.list().is_some() {
                        return Step::List(at);
                    }
                }
                b'}' | b']' => {
                    let opening = if byte == b'}' { b'{' } else { b'[' };
                    match self.open.iter().rposition(|open| *open == opening) {
                        Some(place) => self.open.truncate(place),
                        // It closes the surrounding list or object, or nothing.
                        None => return Step::End(if self.open.is_empty() { at } else { at - 1 }),
                    }
                    if self.open.is_empty() {
                        return Step::End(at);
                    }
                }
                b'\n' => return Step::Line(at),
                b'-' | b'0'..=b'9' | b't' | b'f' | b'n' if self.open.is_empty() => self.kind = Kind::Bare,
                _ if self.open.is_empty() && self.kind != Kind::Bare => {
                    self.kind = Kind::Damaged;
                    self.open.push(b'{');
                }
                _ => {}
            }
        }
        Step::More
    }

    /// Continues inside a string. Returns the offset after its closing quote, a backslash, an escaped byte or the end
    /// of the line.
    fn string(&mut self, bytes: &[u8]) -> Option<usize> {
        if std::mem::take(&mut self.escaped) && bytes[0] != b'\n' {
            return Some(1);
        }
        let found = memchr::memchr3(b'"', b'\\', b'\n', bytes);
        if self.key.open {
            self.key.extend(&bytes[..found.unwrap_or(bytes.len())]);
        }
        let at = found?;
        if bytes[at] == b'\\' {
            self.escaped = true;
            self.key.length = usize::MAX;
        } else {
            self.in_string = false;
            self.key.open = false;
        }
        Some(at + 1)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Returns the end of the value at the beginning of the text, scanned in pieces of `size` bytes, and its lists.
    fn end(text: &[u8], size: usize) -> (Option<usize>, Vec<&'static str>) {
        let mut scanner = Scanner::default();
        let mut lists = Vec::new();
        let mut at = 0;
        while at < text.len() {
            let piece = &text[at..text.len().min(at + size)];
            at += match scanner.feed(piece) {
                Step::More => piece.len(),
                Step::End(end) => return (Some(at + end), lists),
                Step::List(list) => {
                    lists.push(scanner.list().expect("a list"));
                    list
                }
                Step::Line(line) => line,
            };
        }
        (None, lists)
    }

    #[test]
    fn a_complete_value_ends_at_its_end_and_a_broken_one_early() {
        for (text, value) in [
            (r#"{"a":"}\"]"},{}"#, r#"{"a":"}\"]"}"#),
            (r"[[1],{}] x", "[[1],{}]"),
            (r#""a,b",1"#, r#""a,b""#),
            ("12,3", "12"),
            ("nul]", "nul"),
            ("}{", "}"),
            (r#"nd":1,"user":{"a":[{},{}]},"b":2},{}"#, r#"nd":1,"user":{"a":[{},{}]},"b":2}"#),
            ("some words, more, {}", "some words, more, "),
            ("some words]", "some words"),
            (r#"{"a":[1},{}"#, r#"{"a":[1}"#),
            (r"{],{}", "{"),
            ("\"open\n{}", "\"open"),
        ] {
            for size in 1..8 {
                assert_eq!(end(text.as_bytes(), size).0, Some(value.len()), "{text} in pieces of {size}");
            }
        }
    }

    #[test]
    fn only_top_level_lists_with_known_names_are_lists_of_records() {
        for (text, lists) in [
            (r#"{"kind":"EventList","items":[1]}"#, &["items"][..]),
            (r#"{"records" : [1],"logEvents":[]}"#, &["records", "logEvents"]),
            (r#"{"a":{"items":[1]},"items":{"items":[]}}"#, &[]),
            (r#"{"a":"items","b":[1],"itemss":[],"item":[],"it\u0065ms":[]}"#, &[]),
            (r#"["items",[1],{"items":[]}]"#, &[]),
        ] {
            for size in 1..8 {
                assert_eq!(
                    end(text.as_bytes(), size),
                    (Some(text.len()), lists.to_vec()),
                    "{text} in pieces of {size}"
                );
            }
        }
    }

    fn json() -> impl Strategy<Value = serde_json::Value> {
        let leaf = prop_oneof![
            Just(serde_json::Value::Null),
            any::<i64>().prop_map(Into::into),
            "[\\PC\"\\\\\n{}\\[\\],:]{0,12}".prop_map(Into::into),
        ];
        leaf.prop_recursive(4, 40, 6, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6).prop_map(Into::into),
                prop::collection::btree_map("[a-z\"\\\\{]{0,4}", inner, 0..6)
                    .prop_map(|members| members.into_iter().collect::<serde_json::Map<_, _>>().into()),
            ]
        })
    }

    proptest! {
        #[test]
        fn a_value_ends_where_its_json_ends(value in json(), pretty in any::<bool>(), size in 1_usize..30) {
            let text = if pretty { serde_json::to_string_pretty(&value) } else { serde_json::to_string(&value) }
                .expect("JSON");
            prop_assert_eq!(end(format!("{text},{{}}").as_bytes(), size).0, Some(text.len()));
        }

        #[test]
        fn pieces_do_not_change_the_end(text in prop::collection::vec(any::<u8>(), 0..60), size in 1_usize..9) {
            let (whole, _) = end(&text, usize::MAX / 2);
            prop_assert_eq!(end(&text, size).0, whole);
        }
    }
}

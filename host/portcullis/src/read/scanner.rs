//! Where a JSON value ends, in a stream of bytes that may be cut anywhere and broken anywhere.

use portcullis_event::LISTS;

/// Follows strings and brackets, and checks nothing else: whether the value is JSON is for its reader to say. What is
/// broken ends as early as it can, so that it costs its neighbours nothing: a string at the end of its line, since JSON
/// has no line ends in strings, and a list or object with the bracket that closes what is around it.
#[derive(Debug, Default)]
pub(super) struct Scanner {
    /// The brackets that are open.
    open: Vec<u8>,
    in_string: bool,
    escaped: bool,
    kind: Kind,
    /// The last byte outside of strings that is no white space; a string counts as its quote.
    last: u8,
    key: Key,
}

/// What the value begins like.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Kind {
    /// A list, an object or a string.
    #[default]
    Bracketed,
    /// A number or a word.
    Bare,
    /// None: perhaps it is the rest of an object, whose closing bracket is waited for.
    Damaged,
}

/// What the scanner found in the bytes that it was shown; offsets are into these.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// They all belong to the value, which goes on.
    More,
    /// The value ends before this offset.
    End(usize),
    /// The value is an object, and the list of one of [`LISTS`] has begun before this offset.
    List(usize),
    /// A line begins at this offset, inside the value.
    Line(usize),
}

/// The last member name of the outermost object, as far as it matters.
#[derive(Debug, Default)]
struct Key {
    bytes: [u8; 16],
    /// More than there is room for where the name is too long, or has escapes.
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
    /// The byte before this point that is neither white space nor inside a string.
    pub(super) fn last(&self) -> u8 {
        self.last
    }

    /// Whether the value is known to be broken.
    pub(super) fn is_damaged(&self) -> bool {
        self.kind == Kind::Damaged
    }

    /// The name of the list that has begun.
    pub(super) fn list(&self) -> Option<&'static str> {
        self.key.list()
    }

    /// Goes on with these bytes; the first call begins with the value's first byte.
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
            // Behind a comma an object has a name, and not an object: this is the list's next item.
            if self.kind == Kind::Damaged && self.open == [b'{'] && byte == b'{' && before == b',' {
                return Step::End(at);
            }
            at += 1;
            if !matches!(byte, b' ' | b'\t' | b'\r' | b'\n') {
                self.last = byte;
            }
            match byte {
                // In what is damaged, one that can begin no string ends one whose beginning is lost.
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
                        // It closes what is around the value, or nothing.
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

    /// Goes on inside a string, to behind its closing quote, an escaped byte or the end of the line.
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

    /// Where the value at the beginning of the text ends, shown in pieces of `size` bytes; its lists; its lines.
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
    fn a_value_ends_where_it_should_and_a_broken_one_early() {
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
    fn only_a_list_of_a_known_name_at_the_top_is_one_of_records() {
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
        fn the_end_is_that_of_the_json(value in json(), pretty in any::<bool>(), size in 1_usize..30) {
            let text = if pretty { serde_json::to_string_pretty(&value) } else { serde_json::to_string(&value) }
                .expect("JSON");
            prop_assert_eq!(end(format!("{text},{{}}").as_bytes(), size).0, Some(text.len()));
        }

        #[test]
        fn any_bytes_come_to_an_end(text in prop::collection::vec(any::<u8>(), 0..60), size in 1_usize..9) {
            let (whole, _) = end(&text, usize::MAX / 2);
            prop_assert_eq!(end(&text, size).0, whole);
        }
    }
}

//! Looks at a record's bytes, so that most records need not be parsed.

use std::sync::LazyLock;

use portcullis_event::address::{is_global, parse};
use portcullis_event::places_of;

use crate::rules::RULES;

/// Fields whose value begins like a string in the record, on every cloud.
const VERBATIM_FIELDS: [&str; 2] = ["serviceType", "username"];

/// What a rule needs a record to have.
struct Needs {
    /// Beginnings of strings, of which one is there.
    beginnings: Vec<&'static [u8]>,
    /// Whether a string is there that is a public address.
    public_address: bool,
}

/// What the rules need, as their prefilters say. `None` if one of them may match any record.
static LOOK: LazyLock<Option<Look>> = LazyLock::new(|| {
    let needs = RULES.iter().map(|rule| {
        let values = |name| rule.prefilter.iter().find(|(field, _)| *field == name).map(|(_, values)| *values);
        let beginnings = VERBATIM_FIELDS.into_iter().find_map(values)?;
        let beginnings: Vec<_> = beginnings.iter().map(|text| text.trim_end_matches('*').as_bytes()).collect();
        // Every string begins with an empty text.
        let is_any = beginnings.iter().any(|text| text.is_empty());
        (!is_any).then(|| Needs { beginnings, public_address: values("sourceScope") == Some(&["public"]) })
    });
    Some(Look::for_all(needs.collect::<Option<Vec<_>>>()?))
});

/// Returns whether a rule may match the record. If not, no rule matches it.
///
/// A string may be nested in another string, with a backslash before each of its quotes, as AKS writes audit events.
/// An escape could hide a beginning or an address, so a record with one that could may match.
#[must_use]
pub fn may_match(record: &[u8]) -> bool {
    LOOK.as_ref().is_none_or(|look| look.finds(record))
}

/// What to look for.
struct Look {
    /// What is enough without a public address.
    alone: Vec<&'static [u8]>,
    /// What is enough with one.
    with_address: Vec<&'static [u8]>,
    /// For each byte: [`NOTHING`], or what a string may be that begins with it.
    firsts: [u8; 256],
}

/// A string that is not looked for.
const NOTHING: u8 = 0;
/// An address, if a point or a colon follows soon.
const ADDRESS: u8 = 1;
/// One of the beginnings, or what is before an address: white space, perhaps as an escape, a bracket or a colon.
const ANY: u8 = 2;

impl Look {
    fn for_all(needs: Vec<Needs>) -> Self {
        let (with_address, alone): (Vec<_>, Vec<_>) = needs.into_iter().partition(|needs| needs.public_address);
        let beginnings = |needs: Vec<Needs>| needs.into_iter().flat_map(|needs| needs.beginnings).collect::<Vec<_>>();
        let (alone, with_address) = (beginnings(alone), beginnings(with_address));
        let mut firsts = [NOTHING; 256];
        for byte in u8::MIN..=u8::MAX {
            firsts[usize::from(byte)] = match byte {
                _ if alone.iter().any(|text| text.first() == Some(&byte)) => ANY,
                _ if with_address.is_empty() => NOTHING,
                _ if byte.is_ascii_hexdigit() => ADDRESS,
                b':' | b'[' | b'\\' => ANY,
                _ if byte.is_ascii_whitespace() || !byte.is_ascii() => ANY,
                _ => NOTHING,
            };
        }
        Self { alone, with_address, firsts }
    }

    /// Whether a record has what one of the rules needs. Eight bytes are looked at together, because this costs what an
    /// interpreter takes for each instruction.
    fn finds(&self, record: &[u8]) -> bool {
        let (words, rest) = record.as_chunks::<8>();
        let mut last = [b' '; 8];
        last[..rest.len()].copy_from_slice(rest);
        // The mark of a word's first byte, if the byte before it is a backslash.
        let mut behind_backslash = 0;
        let mut address_counts = !self.with_address.is_empty();
        for number in 0..=words.len() {
            let word = u64::from_le_bytes(*words.get(number).unwrap_or(&last));
            let backslashes = places_of(b'\\', word);
            let mut escapes = (backslashes << 8 | behind_backslash) & places_of(b'u', word);
            behind_backslash = backslashes >> 56;
            while escapes != 0 {
                if !is_harmless(&record[8 * number + place(escapes) + 1..]) {
                    return true;
                }
                escapes &= escapes - 1;
            }
            let mut quotes = places_of(b'"', word);
            while quotes != 0 {
                let begin = 8 * number + place(quotes) + 1;
                quotes &= quotes - 1;
                let Some(byte) = record.get(begin) else { break };
                let first = self.firsts[usize::from(*byte)];
                if first != NOTHING
                    && (first != ADDRESS || may_be_address(record, begin))
                    && self.is_enough(record, begin, &mut address_counts)
                {
                    return true;
                }
            }
        }
        false
    }

    /// Whether the string at `begin` is one of the beginnings, or an address that is enough in this record. After the
    /// first public address, none counts.
    #[inline(never)]
    fn is_enough(&self, record: &[u8], begin: usize, address_counts: &mut bool) -> bool {
        let string = &record[begin..];
        if self.alone.iter().any(|text| string.starts_with(text)) {
            return true;
        }
        if !*address_counts || !may_be_public(without_space(string)) {
            return false;
        }
        *address_counts = false;
        let has = |text: &[u8]| record.windows(1 + text.len()).any(|part| part[0] == b'"' && part[1..] == *text);
        self.with_address.iter().any(|text| has(text))
    }
}

/// The place in a word of the first byte that is marked.
#[inline]
const fn place(marks: u64) -> usize {
    marks.trailing_zeros() as usize / 8
}

/// Whether a string at `begin`, which begins with a hexadecimal digit, may be an address: it has a point or a colon
/// behind one to four bytes.
#[inline]
fn may_be_address(record: &[u8], begin: usize) -> bool {
    const PLACES: u64 = 0x80_8080_8000;
    let Some(word) = record.get(begin..).and_then(|string| string.first_chunk()) else { return true };
    let word = u64::from_le_bytes(*word);
    (places_of(b'.', word) | places_of(b':', word)) & PLACES != 0
}

/// Whether an escape can hide nothing that is looked for, given what follows its `u`. Harmless are the characters that
/// encoders escape for the sake of HTML, as Go's does, and most outside of ASCII.
fn is_harmless(digits: &[u8]) -> bool {
    let digits = digits.get(..4).and_then(|digits| str::from_utf8(digits).ok());
    match digits.and_then(|digits| u32::from_str_radix(digits, 16).ok()) {
        Some(0x26 | 0x27 | 0x3c..=0x3e) => true,
        // Half of a surrogate pair is no character of its own.
        Some(code @ 0x80..) => !char::from_u32(code).is_some_and(char::is_whitespace),
        _ => false,
    }
}

/// Returns a string without the white space at its beginning, which may be written as escapes. Any character outside of
/// ASCII counts.
fn without_space(mut string: &[u8]) -> &[u8] {
    loop {
        let rest = string.trim_ascii_start();
        let (backslashes, behind) = rest.split_at(rest.iter().take_while(|byte| **byte == b'\\').count());
        string = match behind.first() {
            Some(b't' | b'n' | b'r' | b'f') if !backslashes.is_empty() => &behind[1..],
            Some(byte) if backslashes.is_empty() && !byte.is_ascii() => &behind[1..],
            _ => return rest,
        };
    }
}

/// Whether a string may be a public address. One with an escape behind an address may be.
fn may_be_public(string: &[u8]) -> bool {
    let digits = string.iter().take(5).take_while(|byte| byte.is_ascii_hexdigit()).count();
    let is_likely = match string.get(digits) {
        Some(b'.' | b':') if digits > 0 => true,
        Some(b':') => string.get(1) == Some(&b':'),
        Some(b'[') => digits == 0,
        _ => false,
    };
    if !is_likely {
        return false;
    }
    let Some(end) = string.iter().position(|byte| matches!(byte, b'"' | b'\\')) else { return false };
    let has_escape = string[end..].iter().find(|byte| **byte != b'\\') != Some(&b'"');
    has_escape || str::from_utf8(&string[..end]).ok().and_then(parse).is_some_and(is_global)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{Buffers, detect_inside};

    #[test]
    fn only_records_with_what_a_rule_needs_may_match() {
        for record in [
            r#"{"user":{"username":"system:node:n"},"sourceIPs":["8.8.8.8"]}"#,
            r#"{"sourceIPs":["10.0.0.1","2a00:1450::1"],"user":{"username":"eks:x"}}"#,
            r#"{"sourceIPs":["[2a00:1450::1]:443"],"user":{"username":"eks:x"}}"#,
            r#"{"sourceIPs":[" 8.8.8.8"],"user":{"username":"eks:x"}}"#,
            r#"{"sourceIPs":["\t8.8.8.8"],"user":{"username":"eks:x"}}"#,
            r#"{"sourceIPs":["8.8.8.8\/24"],"user":{"username":"eks:x"}}"#,
            "{\"sourceIPs\":[\"\u{a0}8.8.8.8\"],\"user\":{\"username\":\"eks:x\"}}",
            r#"{"properties":{"log":"{\"user\":{\"username\":\"aks:x\"},\"sourceIPs\":[\"::ffff:8.8.8.8\"]}"}}"#,
            r#"{"requestObject":{"spec":{"type" : "NodePort"}}}"#,
            r#"{"requestObject":{"spec":{"type":"\u004eodePort"}}}"#,
            r#"{"requestURI":"?a=1\u0026b","sourceIPs":["\u20008.8.8.8"],"user":{"username":"eks:x"}}"#,
            r#"{"sourceIPs":["\f8.8.8.8"],"user":{"username":"eks:x"}}"#,
            r#"{"sourceIPs":["8.8.8.8:80\b"],"user":{"username":"eks:x"}}"#,
            r#"{"log":"{\\\"spec\\\":{\\\"type\\\":\\\"NodePort\\\"}}"}"#,
        ] {
            assert!(may_match(record.as_bytes()), "{record}");
        }
        for record in [
            "",
            "\"",
            "\\",
            r#"{"user":{"username":"ada system:node:n"}}"#,
            r#"{"type":"ClusterIP"}"#,
            r#"{"user":{"username":"system:node:n","groups":["system:nodes"]},"sourceIPs":["10.0.0.1","fe80::1"]}"#,
            r#"{"user":{"username":"ada"},"sourceIPs":["8.8.8.8"]}"#,
            r#"{"requestURI":"?a=1\u0026b\u00e9","user":{"username":"eks:x"}}"#,
            r#"{"reason":"RoleBinding \"a\" of \"b\", \"\\\t 5.5","user":{"username":"eks:x"}}"#,
            r#"{"user":{"username":"eks:x"},"annotations":{"a":"\"\"","b":"\\"},"time":"12:30","id":"8b1c2a50-3a0e"}"#,
        ] {
            assert!(!may_match(record.as_bytes()), "{record}");
        }
    }

    /// A text in a JSON string, with some of its characters as escapes.
    fn string(text: &str, escaped: usize) -> String {
        let json = serde_json::to_string(text).expect("JSON");
        match escaped {
            0 => json.replace('/', "\\/"),
            1 => json.replacen('N', "\\u004e", 1).replacen('8', "\\u0038", 1),
            _ => json,
        }
    }

    proptest! {
        #[test]
        fn no_match_is_hidden(
            user in prop::sample::select(vec!["system:node:a", "system:serviceaccount:a:b", "eks:a", "aks:a", "ada"]),
            address in prop::sample::select(vec![
                "8.8.8.8", "10.0.0.1", "2a00:1450::1", "[2a00::1]:80", "::ffff:8.8.4.4", " 9.9.9.9 ", "\t1.1.1.1", "1.1.1.1/32",
                "\u{a0}1.1.1.1", "1.1.1.1:443\n", "fe80::1%eth0", "\u{2003}2A00::2%a",
            ]),
            kind in prop::sample::select(vec!["NodePort", "ClusterIP"]),
            escaped in 0_usize..4,
            nested in 0_usize..3,
            padding in "[a\" ]{0,9}",
        ) {
            let record = format!(
                r#"{{"a":{},"kind":"Event","apiVersion":"audit.k8s.io/v1","verb":"create","user":{{"username":{}}},"sourceIPs":[{}],"objectRef":{{"resource":"services"}},"requestObject":{{"spec":{{"type":{}}}}}}}"#,
                string(&padding, 3), string(user, escaped), string(address, escaped), string(kind, escaped)
            );
            let record = (0..nested).fold(record, |record, _| format!("{{\"log\":{}}}", string(&record, 3)));
            let alerts = detect_inside(record.as_bytes(), &mut Buffers::default()).expect("a record");
            prop_assert!(alerts.is_empty() || may_match(record.as_bytes()), "{}", record);
        }
    }
}

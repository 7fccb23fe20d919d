//! The format in which Fluent Bit hands over records.

/// What its operator sees in the place of a record that cannot be judged.
const NOTE: &str =
    "not judged: event_format is msgpack, and must be json. Fluent Bit cuts records in msgpack at a zero byte";

/// Returns a note in the place of a record in `MessagePack`, which is Fluent Bit's other `event_format`. `None` for JSON.
///
/// The note is an object in `MessagePack`. The record itself cannot go on: Fluent Bit takes an answer to end at its first
/// zero byte (`cb_wasm_filter` in `filter_wasm.c`, 5.1.1), and what is left of most records is no record.
pub(crate) fn note_on_format(record: &[u8]) -> Option<Vec<u8>> {
    // A map of MessagePack begins with one of these. JSON begins with a brace.
    if !matches!(record.first()?, 0x80..=0x8f | 0xde | 0xdf) {
        return None;
    }
    let mut note = Vec::new();
    object(&mut note, 2);
    for part in ["log", NOTE, "portcullis"] {
        text(&mut note, part);
    }
    object(&mut note, 1);
    for part in ["error", NOTE] {
        text(&mut note, part);
    }
    Some(note)
}

/// Begins an object of less than 16 members.
fn object(note: &mut Vec<u8>, members: u8) {
    note.push(0x80 | members);
}

/// Writes a text of less than 256 bytes.
fn text(note: &mut Vec<u8>, text: &str) {
    note.extend([0xd9, u8::try_from(text.len()).unwrap_or(u8::MAX)]);
    note.extend(text.bytes().take(usize::from(u8::MAX)));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_in_messagepack_becomes_a_note_and_json_does_not() {
        // {"a":0}, with each of the three kinds of maps.
        for record in [&b"\x81\xa1a\x00"[..], b"\xde\x00\x01\xa1a\x00", b"\xdf\x00\x00\x00\x01\xa1a\x00", b"\x80"] {
            let note = note_on_format(record).expect("a note");
            let written = [&[0xd9, u8::try_from(NOTE.len()).expect("a short text")], NOTE.as_bytes()].concat();
            let parts = [&b"\x82\xd9\x03log"[..], &written, b"\xd9\x0aportcullis\x81\xd9\x05error", &written];
            assert_eq!(note, parts.concat());
            assert!(!note.contains(&0));
        }
        for json in ["", "{}", "{\"a\":1}", "[]", "5", "\u{e9}"] {
            assert_eq!(note_on_format(json.as_bytes()), None, "{json}");
        }
    }
}

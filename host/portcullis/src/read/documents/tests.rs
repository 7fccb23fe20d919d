use proptest::prelude::*;

use super::cursor::KEPT;
use super::*;

/// An input that arrives in pieces of this size.
struct Pieces<'i>(&'i [u8], usize);

impl Read for Pieces<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let size = self.1.min(self.0.len()).min(buffer.len());
        let (piece, rest) = self.0.split_at(size);
        buffer[..size].copy_from_slice(piece);
        self.0 = rest;
        Ok(size)
    }
}

type Owned = (String, u64, u64, Option<Item>);

fn documents(input: &[u8], max: usize, piece: usize) -> Vec<Owned> {
    let mut documents = Documents::with_max(Pieces(input, piece), max, vec![b'{'; 100]);
    let mut all = Vec::new();
    while let Some(Document { bytes, length, line, item, .. }) = documents.next_document().expect("memory can be read")
    {
        all.push((String::from_utf8_lossy(bytes).into_owned(), length, line, item));
    }
    all
}

fn texts(input: &str) -> Vec<String> {
    documents(input.as_bytes(), 100, 4).into_iter().map(|(text, ..)| text).collect()
}

#[test]
fn the_last_line_needs_no_line_end_and_an_empty_line_counts() {
    assert_eq!(texts(""), Vec::<String>::new());
    assert_eq!(texts("a\nb"), ["a", "b"]);
    assert_eq!(texts("a\r\nb\n"), ["a", "b"]);
    assert_eq!(texts("\n\n"), ["", ""]);
    assert_eq!(texts("\u{feff}{}\n\u{feff}"), ["{}", ""]);
}

#[test]
fn lists_and_values_over_several_lines_are_split() {
    assert_eq!(texts("[1, \"a,]\" ,{\n}]\n{}\n"), ["1", "\"a,]\"", "{\n}", "{}"]);
    assert_eq!(texts("{\"a\":\n1}\n{\n}{}"), ["{\"a\":\n1}", "{\n}", "{}"]);
    assert_eq!(texts("{\"kind\":1,\"items\":[{},\n{}],\"records\":[5],\"a\":[]\n}{}\n"), ["{}", "{}", "5", "{}"]);
    assert_eq!(texts("[]\n[\n]\n{\"items\":[\n]}\n"), ["{\"items\":[\n]}"; 0]);
}

#[test]
fn a_document_that_is_too_long_is_cut_and_skipped() {
    let long = "x".repeat(70_000);
    for (input, length) in [
        (format!("{long}\n{{}}"), 70_000),
        (format!("{{\"a\":\"{long}\"}}\n{{}}"), 70_008),
        (format!("{{\"a\":\n\"{long}\"}}{{}}"), 70_009),
        (format!("[\"{long}\",{{}}]"), 70_002),
    ] {
        for piece in [1000, 100_000] {
            let found = documents(input.as_bytes(), 1000, piece);
            assert_eq!((found.len(), found[0].1), (2, length), "{}", &input[..20]);
            assert!(found[0].0.len() <= KEPT && input.contains(&found[0].0));
            assert_eq!(found[1].0, "{}");
        }
    }
}

/// A buffer that has held a longer input shows a whole line at once.
#[test]
fn the_length_of_the_buffer_does_not_change_how_a_long_line_is_split() {
    let input = format!("{{\"items\":[{}{{}}]}}\n{{}}\n", "{\"a\":1},".repeat(150_000));
    let count = |buffer: usize| {
        let mut documents = Documents::with_buffer(input.as_bytes(), vec![0; buffer]);
        std::iter::from_fn(|| documents.next_document().expect("memory can be read").map(drop)).count()
    };
    assert_eq!([0, 1 << 20, 4 << 20].map(count), [150_002; 3]);
}

proptest! {
    /// The pieces in which an input arrives and the limit for a document do not change the documents.
    #[test]
    fn pieces_and_limits_do_not_change_the_documents(
        input in "[ab\"\\\\{}\\[\\],: \n]{0,60}", max in 1_usize..40, piece in 1_usize..9,
    ) {
        let whole = documents(input.as_bytes(), usize::MAX >> 1, usize::MAX);
        let found = documents(input.as_bytes(), max, piece);
        prop_assert_eq!(found.len(), whole.len());
        for (found, whole) in found.iter().zip(&whole) {
            prop_assert!(whole.0.starts_with(found.0.trim_ascii_end()));
            prop_assert_eq!((found.2, found.3), (whole.2, whole.3));
        }
    }
}

//! The parts of JSON without quotes and brackets: numbers, the words `true`, `false` and `null`, and white space.

/// The length of the number or word at the beginning of a text.
pub(crate) fn scalar_length(bytes: &[u8]) -> usize {
    let ends = |byte: &u8| is_space(*byte) || matches!(byte, b',' | b':' | b'}' | b']');
    bytes.iter().position(ends).unwrap_or(bytes.len())
}

/// Whether a byte is white space in JSON.
#[inline]
pub(crate) fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r')
}

/// Whether a text is a number or one of the three words.
pub(crate) fn is_scalar(text: &[u8]) -> bool {
    matches!(text, b"true" | b"false" | b"null") || is_number(text)
}

fn is_number(text: &[u8]) -> bool {
    let digits = |text: &[u8]| text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let text = text.strip_prefix(b"-").unwrap_or(text);
    let whole = digits(text);
    if whole == 0 || (whole > 1 && text[0] == b'0') {
        return false;
    }
    let mut text = &text[whole..];
    if let Some(fraction) = text.strip_prefix(b".") {
        let count = digits(fraction);
        if count == 0 {
            return false;
        }
        text = &fraction[count..];
    }
    if let [b'e' | b'E', exponent @ ..] = text {
        let exponent = if let [b'+' | b'-', rest @ ..] = exponent { rest } else { exponent };
        let count = digits(exponent);
        return count > 0 && count == exponent.len();
    }
    text.is_empty()
}

//! The length of a value at the beginning of a text, found by quotes and brackets alone.

/// Returns the length of an object or list. `None` if it does not end, or if the text begins with something else.
pub(crate) fn value_length(bytes: &[u8]) -> Option<usize> {
    let (mut depth, mut at) = (0_usize, 0);
    loop {
        match *bytes.get(at)? {
            b'"' => at += string_length(&bytes[at..])?,
            byte => {
                match byte {
                    b'{' | b'[' => depth += 1,
                    b'}' | b']' => depth = depth.checked_sub(1)?,
                    _ => {}
                }
                at += 1;
                if depth == 0 {
                    return matches!(byte, b'}' | b']').then_some(at);
                }
            }
        }
    }
}

/// Returns the length of the string at the beginning of a text, with its quotes. `None` if it does not end.
#[must_use]
pub fn string_length(bytes: &[u8]) -> Option<usize> {
    let mut at = 1;
    loop {
        match bytes.get(at)? {
            b'"' => return Some(at + 1),
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
}

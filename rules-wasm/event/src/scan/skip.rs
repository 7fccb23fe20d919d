//! Finds the end of a list or an object without looking at what is in it.

use super::block::{BLOCK, blocks, brackets_by_words, quotes_by_words};
use super::strings::Strings;

/// Returns the length of the list or object at the beginning of a text. `None` if it does not end. All brackets are
/// taken for one kind. Even the shortest container costs a block.
pub(crate) fn container_length(text: &[u8]) -> Option<usize> {
    let (whole, last) = blocks(text);
    let mut strings = Strings::default();
    let mut depth = 0;
    for (number, block) in whole.iter().chain([&last]).enumerate() {
        let found = strings.find(quotes_by_words(block), text, number * BLOCK);
        let (opening, closing) = brackets_by_words(block);
        let outside = !(found.inside | found.quotes);
        let (opening, mut closing) = (opening & outside, closing & outside);
        if closing.count_ones() < depth {
            depth = depth + opening.count_ones() - closing.count_ones();
            continue;
        }
        // It may end in this block.
        let mut seen = 0;
        while closing != 0 {
            let end = closing & closing.wrapping_neg();
            let before = opening & (end - 1);
            depth = (depth + (before & !seen).count_ones()).checked_sub(1)?;
            if depth == 0 {
                return Some(number * BLOCK + end.trailing_zeros() as usize + 1);
            }
            seen = before;
            closing ^= end;
        }
        depth += (opening & !seen).count_ones();
    }
    None
}

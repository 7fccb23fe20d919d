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
        let mut brackets = brackets_by_words(block) & !(found.inside | found.quotes);
        while brackets != 0 {
            let place = brackets.trailing_zeros() as usize;
            // This bit is set in both opening brackets, and in neither closing one.
            if block[place] & 2 == 0 {
                depth = usize::checked_sub(depth, 1)?;
                if depth == 0 {
                    return Some(number * BLOCK + place + 1);
                }
            } else {
                depth += 1;
            }
            brackets &= brackets - 1;
        }
    }
    None
}

//! Names of members to look for.

use super::escape::is_written_as_it_is;

/// A list of names in which one is found at once.
pub(crate) struct Names<'n, const N: usize> {
    all: [&'n str; N],
    /// By its [`slot`]: the first name there, as its number from 1 on; 0 for none.
    slots: [u16; SLOTS],
    /// By its number from 0 on: the next name in the same slot, in the same way.
    next: [u16; N],
}

/// A power of two, and more than most objects have names that are asked for.
const SLOTS: usize = 64;

impl<'n, const N: usize> Names<'n, N> {
    pub(crate) const fn new(names: [&'n str; N]) -> Self {
        const { assert!(N < u16::MAX as usize, "more names than can be told apart") };
        let (mut slots, mut next) = ([0; SLOTS], [0; N]);
        let mut number = N;
        while number > 0 {
            number -= 1;
            if is_written_as_it_is(names[number]) {
                let slot = match names[number].as_bytes() {
                    [.., before, last] => slot(*before, *last),
                    [last] => slot(b'"', *last),
                    [] => slot(0, b'"'),
                };
                next[number] = slots[slot];
                #[expect(clippy::cast_possible_truncation, reason = "it is less than that, as asserted")]
                {
                    slots[slot] = number as u16 + 1;
                }
            }
        }
        Self { all: names, slots, next }
    }

    /// Which of them a name without escapes is, from 0 on; given the place of the quote behind it in a text that is
    /// JSON.
    #[inline]
    pub(crate) fn place_before(&self, text: &[u8], closing: usize) -> Option<usize> {
        // In front of a name there are at least a bracket and a quote.
        let [before, last] = *text[..closing].last_chunk()?;
        let mut number = usize::from(self.slots[slot(before, last)]);
        while number > 0 {
            let name = self.all[number - 1].as_bytes();
            // Neither of them has a quote in it.
            let opening = (closing - 1).checked_sub(name.len());
            if let Some(opening) = opening
                && text[opening] == b'"'
                && is_same(&text[opening + 1..closing], name)
            {
                return Some(number - 1);
            }
            number = usize::from(self.next[number - 1]);
        }
        None
    }

    /// Which of them this is, from 0 on.
    #[cold]
    pub(crate) fn place(&self, name: &str) -> Option<usize> {
        self.all.iter().position(|asked| *asked == name)
    }
}

/// Whether two texts of one length are the same. Most names are short, and compared sooner than a function for any
/// length is called.
#[inline]
fn is_same(one: &[u8], other: &[u8]) -> bool {
    fn ends<const N: usize>(text: &[u8]) -> Option<[&[u8; N]; 2]> {
        (text.len() <= 2 * N).then_some([text.first_chunk()?, text.last_chunk()?])
    }
    match (ends::<4>(one), ends::<4>(other)) {
        (Some(one), Some(other)) => one == other,
        _ => match (ends::<8>(one), ends::<8>(other)) {
            (Some(one), Some(other)) => one == other,
            _ => one == other,
        },
    }
}

/// Where a name is kept that ends in these two bytes, of which the quote in front of it may be one.
#[inline]
const fn slot(before: u8, last: u8) -> usize {
    // Whatever stands in front of an empty name does not count.
    let before = if last == b'"' { 0 } else { before };
    (5 * before as usize + last as usize) % SLOTS
}

/// The names of two lists as one, for [`members`]; `N` is the sum of their lengths.
///
/// # Panics
/// `N` is not that sum.
#[must_use]
pub const fn joined<const N: usize>(first: &[&'static str], second: &[&'static str]) -> [&'static str; N] {
    let mut names = [""; N];
    let (start, end) = names.split_at_mut(first.len());
    start.copy_from_slice(first);
    end.copy_from_slice(second);
    names
}

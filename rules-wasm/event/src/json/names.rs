//! Names of members, with an index for finding one of them.

use super::escape::is_written_as_it_is;
use super::quoted::Quoted;

/// A list of names with an index: a hash table in which names with the same slot are linked.
pub(crate) struct Names<'n, const N: usize> {
    all: [&'n str; N],
    /// For each [`slot`]: the first name in it, numbered from 1. 0 if there is none.
    slots: [u16; SLOTS],
    /// For each name: the next name in the same slot, numbered in the same way.
    next: [u16; N],
}

/// Number of slots: a power of two, larger than most lists of names.
const SLOTS: usize = 64;

impl<'n, const N: usize> Names<'n, N> {
    pub(crate) const fn new(names: [&'n str; N]) -> Self {
        const { assert!(N < u16::MAX as usize, "a list of names has less than 65,535 names") };
        let (mut slots, mut next) = ([0; SLOTS], [0; N]);
        let mut number = N;
        while number > 0 {
            number -= 1;
            if is_written_as_it_is(names[number]) {
                let slot = slot_of(names[number].as_bytes());
                next[number] = slots[slot];
                #[expect(clippy::cast_possible_truncation, reason = "the number of names was checked above")]
                {
                    slots[slot] = number as u16 + 1;
                }
            }
        }
        Self { all: names, slots, next }
    }

    /// Returns the index of a name without escapes, given the place of its closing quote in a valid JSON text.
    #[inline]
    pub(crate) fn place_before(&self, text: &[u8], closing: usize) -> Option<usize> {
        // A name has at least a bracket and a quote before it.
        let [before, last] = *text[..closing].last_chunk()?;
        self.find(slot(before, last), |name| {
            // Neither name contains a quote.
            let opening = (closing - 1).checked_sub(name.len());
            opening.is_some_and(|opening| text[opening] == b'"' && is_same(&text[opening + 1..closing], name))
        })
    }

    /// Returns the index of a name as it is written.
    #[inline]
    pub(crate) fn place_of(&self, name: Quoted<'_>) -> Option<usize> {
        if name.has_escapes {
            return self.place(name);
        }
        let text = name.text.as_bytes();
        self.find(slot_of(text), |name| name.len() == text.len() && is_same(text, name))
    }

    /// Returns the index of the first name in a slot that is the right one.
    #[inline]
    fn find(&self, slot: usize, is_it: impl Fn(&[u8]) -> bool) -> Option<usize> {
        let mut number = usize::from(self.slots[slot]);
        while number > 0 {
            if is_it(self.all[number - 1].as_bytes()) {
                return Some(number - 1);
            }
            number = usize::from(self.next[number - 1]);
        }
        None
    }

    /// Returns the index of a name with escapes.
    #[cold]
    pub(crate) fn place(&self, name: Quoted<'_>) -> Option<usize> {
        self.all.iter().position(|asked| name.is(asked))
    }
}

/// Whether two texts of the same length are equal. Comparing short names here is faster than calling a function for any
/// length.
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

/// Returns the slot of a name.
#[inline]
const fn slot_of(name: &[u8]) -> usize {
    match name {
        [.., before, last] => slot(*before, *last),
        [last] => slot(b'"', *last),
        [] => slot(0, b'"'),
    }
}

/// Returns the slot of a name, given its last two bytes. For a name of one byte, the first of them is the quote in
/// front.
#[inline]
const fn slot(before: u8, last: u8) -> usize {
    // The byte before an empty name does not count.
    let before = if last == b'"' { 0 } else { before };
    (5 * before as usize + last as usize) % SLOTS
}

/// Joins two lists of names into one, for [`members`](super::members). `N` is the sum of their lengths.
///
/// # Panics
/// If `N` is not that sum.
#[must_use]
pub const fn joined<const N: usize>(first: &[&'static str], second: &[&'static str]) -> [&'static str; N] {
    let mut names = [""; N];
    let (start, end) = names.split_at_mut(first.len());
    start.copy_from_slice(first);
    end.copy_from_slice(second);
    names
}

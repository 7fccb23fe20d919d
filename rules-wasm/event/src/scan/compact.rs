//! Whether the tokens of a text are JSON, where it has no white space between them: then what may stand next to what is a
//! matter of neighbouring bits, of which 64 are looked at in a few operations. Only brackets are gone through one by one.

use super::block::{BLOCK, Marks};
use super::containers::{Containers, NONE};
use super::scalar::is_scalar;
use super::strings::Found;

/// What is known at the end of a block. Where a field is about the next byte, it is 1 or 0.
#[derive(Debug)]
pub(crate) struct Compact {
    /// A value may begin; if not, one has ended.
    value: u64,
    /// A container has been opened.
    opened: u64,
    /// A name has to begin, or an object to end.
    name: u64,
    /// The string that goes on is a name.
    in_name: u64,
    /// A colon has to be there.
    colon: u64,
    /// A number or word may go on.
    scalar: u64,
    /// Any bit: the text is no JSON, or has white space.
    wrong: u64,
}

impl Default for Compact {
    fn default() -> Self {
        Self { value: 1, opened: 0, name: 0, in_name: 0, colon: 0, scalar: 0, wrong: 0 }
    }
}

impl Compact {
    /// Whether it cannot tell, and need not be asked further.
    #[expect(clippy::inline_always, reason = "only inside of its caller is it compiled for the processor that runs it")]
    #[inline(always)]
    pub(crate) fn is_wrong(&self) -> bool {
        self.wrong != 0
    }

    /// Whether all of the text has been looked at and is one list or object; if not, it may still be JSON.
    pub(crate) fn is_right(&self, text: &[u8], containers: &Containers) -> bool {
        let ends = containers.all.first().is_some_and(|outermost| outermost.end as usize == text.len() - 1);
        self.wrong == 0 && containers.around == NONE && ends && matches!(text[0], b'{' | b'[')
    }

    /// Looks at the next block, which begins at `base`.
    #[expect(clippy::inline_always, reason = "as above")]
    #[inline(always)]
    pub(crate) fn check(
        &mut self,
        marks: &Marks,
        strings: &Found,
        text: &[u8],
        base: usize,
        containers: &mut Containers,
    ) {
        let Found { quotes, inside, .. } = *strings;
        let opens = marks.opening & !inside;
        let closes = marks.closing & !inside;
        let commas = marks.commas & !inside;
        let colons = marks.colons & !inside;
        let left = text.len() - base;
        let present = if left < BLOCK { (1 << left) - 1 } else { u64::MAX };
        let scalars = present & !(inside | quotes | opens | closes | commas | colons);

        // Whether a comma is in an object, for all bytes behind the bracket that decides it.
        let mut in_object = if containers.in_object { u64::MAX } else { 0 };
        let mut objects = 0;
        let mut rest = opens | closes;
        while rest != 0 {
            let bit = rest & rest.wrapping_neg();
            let at = base + rest.trailing_zeros() as usize;
            let byte = text[at];
            let was_in_object = containers.in_object;
            if opens & bit != 0 {
                containers.open(byte);
                objects |= if byte == b'{' { bit } else { 0 };
            } else if !containers.close(byte, at) {
                self.wrong = 1;
                return;
            }
            // All from this bit on.
            in_object ^= if containers.in_object == was_in_object { 0 } else { bit.wrapping_neg() };
            rest ^= bit;
        }

        let starts = scalars & !behind(scalars, &mut self.scalar);
        let mut rest = starts;
        while rest != 0 {
            let scalar = &text[base + rest.trailing_zeros() as usize..];
            let end = scalar.iter().position(|byte| matches!(byte, b',' | b'}' | b']'));
            self.wrong |= u64::from(!end.is_some_and(|end| is_scalar(&scalar[..end])));
            rest &= rest - 1;
        }

        let opening = quotes & inside;
        // What does not stand behind these stands behind a value: all else that is not inside of strings ends one.
        let value = behind(opens | commas | colons, &mut self.value);
        let opened = behind(opens, &mut self.opened);
        let name = behind(objects | (commas & in_object), &mut self.name);
        self.wrong |= (opens | opening | starts) & !value;
        self.wrong |= (commas | (closes & !opened)) & value;
        self.wrong |= name & !(opening | closes);

        // Added up, the quote that opens a name carries through it to the one that closes it.
        let (sum, first) = inside.overflowing_add(opening & name);
        let (sum, second) = sum.overflowing_add(self.in_name);
        self.in_name = u64::from(first | second);
        self.wrong |= colons ^ behind(sum & quotes & !inside, &mut self.colon);
    }
}

/// The bits behind these; the last one is kept for the next block.
#[expect(clippy::inline_always, reason = "as above")]
#[inline(always)]
fn behind(bits: u64, last: &mut u64) -> u64 {
    let behind = bits << 1 | *last;
    *last = bits >> 63;
    behind
}

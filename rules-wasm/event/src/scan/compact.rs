//! Validates a text without white space between its tokens. In such a text, neighbouring bits show
//! whether one token may follow another, and a few operations check 64 bytes. Only brackets are visited one by one.

use super::block::{BLOCK, Marks};
use super::containers::{Containers, NONE};
use super::scalar::is_scalar;
use super::strings::Found;

/// The state between two blocks. Fields about the next byte are 1 or 0.
#[derive(Debug)]
pub(crate) struct Compact {
    /// A value may begin. Otherwise one has ended.
    value: u64,
    /// A container was opened.
    opened: u64,
    /// A name must begin, or an object must end.
    name: u64,
    /// The string that continues is a name.
    in_name: u64,
    /// A colon must follow.
    colon: u64,
    /// A number or word may continue.
    scalar: u64,
    /// Not zero if the text is not JSON, or has white space.
    wrong: u64,
}

impl Default for Compact {
    fn default() -> Self {
        Self { value: 1, opened: 0, name: 0, in_name: 0, colon: 0, scalar: 0, wrong: 0 }
    }
}

impl Compact {
    /// Whether this check has given up: the text is not JSON, or has white space.
    #[expect(
        clippy::inline_always,
        reason = "SIMD code is compiled for the processor only where it is inlined into its caller"
    )]
    #[inline(always)]
    pub(crate) fn is_wrong(&self) -> bool {
        self.wrong != 0
    }

    /// Whether the whole text is one list or object. Otherwise it may still be JSON.
    pub(crate) fn is_right(&self, text: &[u8], containers: &Containers) -> bool {
        let ends = containers.all.first().is_some_and(|outermost| outermost.end as usize == text.len() - 1);
        self.wrong == 0 && containers.around == NONE && ends && matches!(text[0], b'{' | b'[')
    }

    /// Checks the next block, which begins at `base`.
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

        // For each byte: whether the innermost container is an object.
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
            // Changes all bits from this one on.
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
        // Any other byte outside strings ends a value.
        let value = behind(opens | commas | colons, &mut self.value);
        let opened = behind(opens, &mut self.opened);
        let name = behind(objects | (commas & in_object), &mut self.name);
        self.wrong |= (opens | opening | starts) & !value;
        self.wrong |= (commas | (closes & !opened)) & value;
        self.wrong |= name & !(opening | closes);

        // The carry of the addition moves from a name's opening quote to its closing one.
        let (sum, first) = inside.overflowing_add(opening & name);
        let (sum, second) = sum.overflowing_add(self.in_name);
        self.in_name = u64::from(first | second);
        self.wrong |= colons ^ behind(sum & quotes & !inside, &mut self.colon);
    }
}

/// Moves each bit to the next byte. The last bit is kept in `last` for the next block.
#[expect(clippy::inline_always, reason = "as above")]
#[inline(always)]
fn behind(bits: u64, last: &mut u64) -> u64 {
    let behind = bits << 1 | *last;
    *last = bits >> 63;
    behind
}

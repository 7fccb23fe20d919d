//! Finds the escaped bytes of a JSON text, block by block.

/// The state between two blocks.
#[derive(Clone, Copy, Default)]
pub(crate) struct Escapes {
    /// 1 if the first byte of the next block is escaped.
    next: u64,
}

impl Escapes {
    /// Returns the bytes that are escaped by the backslash before them, given the block's backslashes.
    #[inline(always)]
    pub(crate) fn escaped(&mut self, backslashes: u64) -> u64 {
        const EVEN: u64 = 0x5555_5555_5555_5555;
        if backslashes == 0 {
            return std::mem::take(&mut self.next);
        }
        let backslashes = backslashes & !self.next;
        let follows = (backslashes << 1) | self.next;
        // In a row of backslashes every second one is escaped. The addition finds the ends of rows that begin at an odd
        // place.
        let odd_starts = backslashes & !EVEN & !follows;
        let (ends, carry) = odd_starts.overflowing_add(backslashes);
        self.next = u64::from(carry);
        (EVEN ^ (ends << 1)) & follows
    }
}

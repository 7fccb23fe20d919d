//! Which bytes of a JSON text are escaped.

/// Which bytes are escaped, block by block.
#[derive(Clone, Copy, Default)]
pub(crate) struct Escapes {
    /// 1 if the first byte of the next block is.
    next: u64,
}

impl Escapes {
    /// The bytes that are escaped by the backslash before them, by the block's backslashes.
    #[inline(always)]
    pub(crate) fn escaped(&mut self, backslashes: u64) -> u64 {
        const EVEN: u64 = 0x5555_5555_5555_5555;
        if backslashes == 0 {
            return std::mem::take(&mut self.next);
        }
        let backslashes = backslashes & !self.next;
        let follows = (backslashes << 1) | self.next;
        // Of backslashes in a row every second one is escaped: adding finds the ends of rows that begin at an odd place.
        let odd_starts = backslashes & !EVEN & !follows;
        let (ends, carry) = odd_starts.overflowing_add(backslashes);
        self.next = u64::from(carry);
        (EVEN ^ (ends << 1)) & follows
    }
}

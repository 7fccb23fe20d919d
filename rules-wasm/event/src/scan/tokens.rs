//! The tokens of a JSON text.

#[cfg(not(target_arch = "wasm32"))]
use fearless_simd::{Level, Simd, dispatch, prelude::*, u8x64};

use super::block::{BLOCK, blocks, brackets_by_words, colons_by_words, controls_by_words, quotes_by_words};
#[cfg(not(target_arch = "wasm32"))]
use super::block::{marks, quotes};
use super::block_tokens::Block;
#[cfg(not(target_arch = "wasm32"))]
use super::compact::Compact;
use super::containers::{Container, Containers};
use super::grammar;
use super::scalar::is_space;
use super::strings::Strings;

/// Capacity for containers that is kept for the next text. Texts of a MiB need less, unless they are crafted to need
/// more.
const KEPT: usize = 1 << 16;

/// The tokens of one text. Its memory is used again for the next text.
#[derive(Debug, Default)]
pub(crate) struct Tokens {
    blocks: Vec<Block>,
    containers: Containers,
}

/// The error that a text has control characters.
#[cfg(not(target_arch = "wasm32"))]
struct Controls;

impl Tokens {
    /// Reads a text, and returns whether it is one JSON value (RFC 8259) of less than 4 GiB.
    pub(crate) fn read(&mut self, text: &[u8]) -> bool {
        if self.containers.all.capacity() > KEPT {
            *self = Self::default();
        }
        if u32::try_from(text.len()).is_err() {
            return false;
        }
        // Azure's texts end with a line feed, which `compact` does not know.
        let white = text.iter().rev().take_while(|byte| is_space(**byte)).count();
        let text = &text[..text.len() - white];
        let count = text.len() / BLOCK + 1;
        if self.blocks.len() < count {
            self.blocks.resize(count, Block::default());
        }
        self.containers.clear();
        if let Some(is_json) = self.find(text) {
            return is_json;
        }
        self.containers.clear();
        grammar::is_json(text, &self.blocks[..count], &mut self.containers)
    }

    /// Returns the place of the closing quote of a string, given its opening one, and whether the string contains
    /// escapes.
    #[inline]
    pub(crate) fn closing(&self, opening: usize) -> (usize, bool) {
        let mut number = opening / BLOCK;
        let mut block = self.blocks[number];
        // Keeps the tokens after the opening quote.
        block.tokens &= (u64::MAX - 1) << (opening % BLOCK);
        while block.tokens == 0 {
            number += 1;
            block = self.blocks[number];
        }
        let place = block.tokens.trailing_zeros() as usize;
        (number * BLOCK + place, block.escapes >> place & 1 == 1)
    }

    /// Returns the place of the last token before `at`. There must be one.
    pub(crate) fn last_before(&self, at: usize) -> usize {
        let mut block = at / BLOCK;
        let mut tokens = self.blocks[block].tokens & !(u64::MAX << (at % BLOCK));
        while tokens == 0 {
            block -= 1;
            tokens = self.blocks[block].tokens;
        }
        block * BLOCK + tokens.ilog2() as usize
    }

    /// Iterates over the colons from one place to another.
    #[inline]
    pub(crate) fn colons(&self, from: usize, end: usize) -> Colons<'_> {
        let mut colons = Colons { blocks: &self.blocks[..=end / BLOCK], block: 0, left: 0, end };
        colons.go_to(from);
        colons
    }

    /// Whether the string with this closing quote contains escapes.
    #[inline]
    pub(crate) fn has_escapes(&self, closing: usize) -> bool {
        self.blocks[closing / BLOCK].escapes >> (closing % BLOCK) & 1 == 1
    }

    /// Returns a list or object by its number, in the order in which they begin.
    #[inline]
    pub(crate) fn container(&self, number: u32) -> Container {
        self.containers.all[number as usize]
    }

    /// Finds the tokens. Returns whether the text is JSON, or `None` if [`grammar`] must decide that.
    #[cfg(not(target_arch = "wasm32"))]
    fn find(&mut self, text: &[u8]) -> Option<bool> {
        let found = dispatch!(Level::new(), simd => self.find_with(simd, text));
        found.unwrap_or_else(|Controls| self.find_by_words(text))
    }

    #[cfg(target_arch = "wasm32")]
    fn find(&mut self, text: &[u8]) -> Option<bool> {
        self.find_by_words(text)
    }

    /// [`find`](Self::find) with SIMD.
    ///
    /// # Errors
    /// The text has control characters. They may be in strings or not, which this function does not find out.
    #[cfg(not(target_arch = "wasm32"))]
    #[expect(
        clippy::inline_always,
        reason = "SIMD code is compiled for the processor only where it is inlined into its caller"
    )]
    #[inline(always)]
    fn find_with<S: Simd>(&mut self, simd: S, text: &[u8]) -> Result<Option<bool>, Controls> {
        let Self { blocks: entries, containers } = self;
        let (whole, last) = blocks(text);
        let mut strings = Strings::default();
        let mut compact = Compact::default();
        let mut lowest = u8x64::splat(simd, u8::MAX);
        for (number, entry) in entries[..=whole.len()].iter_mut().enumerate() {
            let block = whole.get(number).unwrap_or(&last);
            let base = number * BLOCK;
            let bytes = u8x64::from_slice(simd, block);
            lowest = lowest.min(bytes);
            let found = strings.find(quotes(bytes), text, base);
            if found.is_one_string() {
                *entry = Block::default();
                continue;
            }
            let marks = marks(bytes);
            *entry = Block::new(marks.opening | marks.closing, marks.colons, &found);
            if !compact.is_wrong() {
                compact.check(&marks, &found, text, base, containers);
            }
        }
        if lowest.simd_lt(b' ').any_true() {
            Err(Controls)
        } else if strings.are_right() {
            Ok(compact.is_right(text, containers).then_some(true))
        } else {
            Ok(Some(false))
        }
    }

    /// [`find`](Self::find) without SIMD, eight bytes at once: rules are compiled without SIMD. The answer is
    /// `Some(false)` or `None`.
    fn find_by_words(&mut self, text: &[u8]) -> Option<bool> {
        let (whole, last) = blocks(text);
        let mut strings = Strings::default();
        let mut controls = 0;
        for (number, entry) in self.blocks[..=whole.len()].iter_mut().enumerate() {
            let block = whole.get(number).unwrap_or(&last);
            let found = strings.find(quotes_by_words(block), text, number * BLOCK);
            controls |= controls_by_words(block) & found.inside;
            if found.is_one_string() {
                *entry = Block::default();
                continue;
            }
            *entry = Block::new(brackets_by_words(block), colons_by_words(block), &found);
        }
        if strings.are_right() && controls == 0 { None } else { Some(false) }
    }
}

/// An iterator over the colons in a part of a text.
pub(crate) struct Colons<'t> {
    /// The blocks up to the end of the part. After them there may be blocks of an earlier text.
    blocks: &'t [Block],
    block: usize,
    /// The colons that are left of the block.
    left: u64,
    end: usize,
}

impl Colons<'_> {
    /// Continues from this place on.
    #[inline]
    pub(crate) fn go_to(&mut self, at: usize) {
        self.block = at / BLOCK;
        self.left = self.blocks[self.block].colons & (u64::MAX << (at % BLOCK));
    }
}

impl Iterator for Colons<'_> {
    type Item = usize;

    #[inline]
    fn next(&mut self) -> Option<usize> {
        while self.left == 0 {
            self.block += 1;
            self.left = self.blocks.get(self.block)?.colons;
        }
        let at = self.block * BLOCK + self.left.trailing_zeros() as usize;
        self.left &= self.left - 1;
        (at < self.end).then_some(at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs [`find`](Tokens::find) alone.
    fn find(text: &str) -> Option<bool> {
        let mut tokens = Tokens { blocks: vec![Block::default(); text.len() / BLOCK + 1], ..Tokens::default() };
        tokens.containers.clear();
        tokens.find(text.as_bytes())
    }

    #[test]
    fn json_without_white_space_is_validated_while_tokens_are_found() {
        for text in [
            "{}",
            "[]",
            r#"{"a":"b"}"#,
            r#"{"a":"b","c":1,"d":[],"e":{"f":null,"g":[1,"h",{"i":-2.5e3},["j"]]},"k\"\\":true}"#,
        ] {
            // The padding moves the ends of blocks through the text.
            for length in 0..70 {
                let text = format!(r#"{{"{}":{text},"l":["m",{text}]}}"#, "n".repeat(length));
                assert_eq!(find(&text), Some(true), "{text}");
            }
        }
    }
}

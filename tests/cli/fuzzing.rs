//! The fuzz targets of `fuzz/`, on the compiler that everything else is built with: over their seeds, and over so many
//! mutations of these that every run tries the same ones.

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use crate::support::{JSON_TOKENS, project};

#[path = "../../fuzz/harness/mod.rs"]
mod harness;

/// Mutations are no longer than this, so that none takes long.
const MOST: usize = 32 << 10;

#[test]
fn records_of_any_bytes_are_accounted_for() {
    near_the_seeds("record", harness::record, 1_500);
}

#[test]
fn specs_of_any_bytes_are_read_or_refused() {
    near_the_seeds("spec", harness::spec, 4_000);
}

#[test]
fn packages_of_any_bytes_are_run_or_refused() {
    near_the_seeds("package", harness::package, 800);
}

#[test]
fn answers_of_any_bytes_are_alerts_or_faults() {
    near_the_seeds("answer", harness::answer, 3_000);
}

/// Runs a target on each of its seeds and on so many mutations of them.
fn near_the_seeds(name: &str, target: fn(&[u8]), mutations: usize) {
    let folder = project("fuzz/seeds").join(name);
    let mut files: Vec<_> =
        fs::read_dir(folder).expect("the seeds").map(|entry| entry.expect("a seed").path()).collect();
    files.sort();
    let seeds: Vec<Vec<u8>> = files.iter().map(|file| fs::read(file).expect("a seed")).collect();
    let mut random = Random(name.bytes().fold(1, |state, byte| state << 8 ^ u64::from(byte)));
    let tokens = [&JSON_TOKENS[..], &TOKENS].concat();
    let mutated = |_| mutated(&seeds, &tokens, &mut random);
    let inputs: Vec<Vec<u8>> = (0..mutations).map(mutated).collect();
    for input in seeds.iter().chain(&inputs) {
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| target(input))) {
            eprintln!("{name} on {} bytes: {}", input.len(), input.escape_ascii());
            resume_unwind(panic);
        }
    }
}

/// What breaks a format's rules without leaving it at once.
const TOKENS: [&[u8]; 6] = [b"\n", b"\0", b"\xff\xff\xff\xff", b"\\ud800", b"- &a ", b"\xef\xbb\xbf"];

/// One of the seeds with up to eight changes.
fn mutated(seeds: &[Vec<u8>], tokens: &[&[u8]], random: &mut Random) -> Vec<u8> {
    let mut input = random.one_of(seeds).clone();
    for _ in 0..=random.below(8) {
        let (from, to) = random.range(input.len(), 64);
        match random.below(7) {
            0 => input.truncate(from),
            1 => drop(input.drain(from..to)),
            2 => input.splice(from..to, random.one_of(tokens).iter().copied()).for_each(drop),
            3 => input.extend_from_within(from..to),
            4 => {
                let other = random.one_of(seeds);
                let (start, end) = random.range(other.len(), 4096);
                input.splice(from..from, other[start..end].iter().copied()).for_each(drop);
            }
            5 => input.iter_mut().skip(from).take(1).for_each(|byte| *byte ^= 1 << random.below(8)),
            _ => input.iter_mut().skip(from).take(1).for_each(|byte| *byte = random.below(256).to_le_bytes()[0]),
        }
    }
    input.truncate(MOST);
    input
}

/// Numbers that look random and are the same in every run (`SplitMix64`).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % (bound as u64)).expect("less than the bound")
    }

    fn one_of<'i, T>(&mut self, items: &'i [T]) -> &'i T {
        &items[self.below(items.len())]
    }

    /// A range of up to `most` items of a list of this length.
    fn range(&mut self, length: usize, most: usize) -> (usize, usize) {
        let from = self.below(length + 1);
        (from, from + self.below((length - from).min(most) + 1))
    }
}

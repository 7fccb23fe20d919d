//! Sets of rules.

/// A set of rules, by their index in the rule set.
#[derive(Clone, Debug, Default)]
pub(crate) struct Candidates(Vec<u64>);

impl Candidates {
    pub(super) fn none(rules: usize) -> Self {
        Self(vec![0; rules.div_ceil(64)])
    }

    pub(crate) fn set(&mut self, rule: usize, is_in: bool) {
        let bit = 1 << (rule % 64);
        let word = &mut self.0[rule / 64];
        *word = if is_in { *word | bit } else { *word & !bit };
    }

    pub(crate) fn contains(&self, rule: usize) -> bool {
        self.0[rule / 64] & (1 << (rule % 64)) != 0
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.iter().all(|word| *word == 0)
    }

    /// Returns the first rule of the set at this index or after.
    pub(crate) fn next(&self, from: usize) -> Option<usize> {
        let (first, bit) = (from / 64, from % 64);
        let mut words = self.0.iter().enumerate().skip(first);
        let masked = words.next().map(|(number, word)| (number, word & (u64::MAX << bit)));
        let (number, word) =
            masked.into_iter().chain(words.map(|(number, word)| (number, *word))).find(|(_, word)| *word != 0)?;
        Some(number * 64 + word.trailing_zeros() as usize)
    }

    pub(super) fn copy(&mut self, other: &Self) {
        self.0.clone_from(&other.0);
    }

    pub(super) fn add(&mut self, rules: &Rules) {
        match rules {
            Rules::Few(rules) => {
                for rule in rules {
                    self.set(*rule as usize, true);
                }
            }
            Rules::Many(rules) => self.0.iter_mut().zip(&rules.0).for_each(|(word, other)| *word |= other),
        }
    }

    /// Removes the rules in `other`. Returns whether any are left.
    pub(super) fn remove(&mut self, other: &Self) -> bool {
        let mut left = 0;
        for (word, other) in self.0.iter_mut().zip(&other.0) {
            *word &= !other;
            left |= *word;
        }
        left != 0
    }

    /// Keeps the rules in `some`, and those of a text. Returns whether any are left.
    pub(super) fn keep(&mut self, some: &Self, text: Option<&Rules>) -> bool {
        let (mut few, many): (&[u32], &[u64]) = match text {
            None => (&[], &[]),
            Some(Rules::Few(few)) => (few, &[]),
            Some(Rules::Many(many)) => (&[], &many.0),
        };
        let mut left = 0;
        for (number, (word, some)) in self.0.iter_mut().zip(&some.0).enumerate() {
            let mut kept = some | many.get(number).unwrap_or(&0);
            while let [rule, others @ ..] = few
                && *rule as usize / 64 == number
            {
                kept |= 1 << (rule % 64);
                few = others;
            }
            *word &= kept;
            left |= *word;
        }
        left != 0
    }
}

/// The rules of one text of a prefilter. Most texts belong to few rules, and a set of all rules for each text would
/// take memory by texts times rules.
#[derive(Debug)]
pub(super) enum Rules {
    Few(Vec<u32>),
    Many(Candidates),
}

impl Rules {
    /// Adds the rule with this index, which is not lower than those before, of so many rules.
    pub(super) fn add(&mut self, rule: usize, rules: usize) {
        match self {
            Self::Few(few) if few.last().is_some_and(|last| *last as usize == rule) => {}
            // The list would take more memory than the set.
            Self::Few(few) if few.len() >= rules.div_ceil(64) * 2 => {
                let mut many = Candidates::none(rules);
                many.add(self);
                many.set(rule, true);
                *self = Self::Many(many);
            }
            Self::Few(few) => few.push(u32::try_from(rule).expect("there are fewer packages")),
            Self::Many(many) => many.set(rule, true),
        }
    }
}

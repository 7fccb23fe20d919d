//! Measuring side by side: what is compared takes turns, so that a machine that is slow for a while is slow for all of it.

use std::time::Instant;

/// Something to measure, and its times in seconds.
pub(crate) struct Turn<'t> {
    name: &'static str,
    once: Box<dyn FnMut() + 't>,
    times: Vec<f64>,
}

impl<'t> Turn<'t> {
    /// Does this once a round.
    pub(crate) fn new(name: &'static str, once: impl FnMut() + 't) -> Self {
        Self { name, once: Box::new(once), times: Vec::new() }
    }

    /// What it is.
    pub(crate) fn name(&self) -> &'static str {
        self.name
    }

    /// Its best time: whatever else a machine does only adds to it.
    pub(crate) fn best(&self) -> f64 {
        self.times.iter().copied().fold(f64::INFINITY, f64::min)
    }

    /// How many times as long as another it takes, in the middle of all rounds.
    pub(crate) fn over(&self, other: &Self) -> f64 {
        let mut ratios: Vec<f64> = self.times.iter().zip(&other.times).map(|(own, other)| own / other).collect();
        ratios.sort_by(f64::total_cmp);
        ratios[ratios.len() / 2]
    }
}

/// Gives everyone so many turns, after one that does not count.
pub(crate) fn take_turns(rounds: usize, turns: &mut [Turn<'_>]) {
    for round in 0..=rounds {
        for turn in &mut *turns {
            let begun = Instant::now();
            (turn.once)();
            if round > 0 {
                turn.times.push(begun.elapsed().as_secs_f64());
            }
        }
    }
}

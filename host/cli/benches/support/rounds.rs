//! Comparative measurements: the candidates take turns, so that a slow phase of the machine affects all of them.

use std::time::Instant;

/// A candidate, and its times in seconds.
pub(crate) struct Turn<'t> {
    name: &'static str,
    once: Box<dyn FnMut() + 't>,
    times: Vec<f64>,
}

impl<'t> Turn<'t> {
    /// Returns a candidate that runs this function once a round.
    pub(crate) fn new(name: &'static str, once: impl FnMut() + 't) -> Self {
        Self { name, once: Box::new(once), times: Vec::new() }
    }

    /// Returns its name.
    pub(crate) fn name(&self) -> &'static str {
        self.name
    }

    /// Returns its best time, because other load on the machine only adds to it.
    pub(crate) fn best(&self) -> f64 {
        self.times.iter().copied().fold(f64::INFINITY, f64::min)
    }

    /// Returns the median over all rounds of its time relative to another's.
    pub(crate) fn over(&self, other: &Self) -> f64 {
        let mut ratios: Vec<f64> = self.times.iter().zip(&other.times).map(|(own, other)| own / other).collect();
        ratios.sort_by(f64::total_cmp);
        ratios[ratios.len() / 2]
    }
}

/// Runs all candidates this many rounds, after a warm-up round.
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

//! How many candidates a tenant may check now, so that each tenant takes its turn.

/// The checks of candidates that a tenant may make now. Each can take many seconds.
#[derive(Clone, Copy)]
pub(super) struct Checks {
    only_urgent: bool,
    left: usize,
    /// Whether a candidate waits for its check.
    pub(super) is_unfinished: bool,
    /// Whether an urgent one does.
    pub(super) is_urgent: bool,
}

impl Checks {
    /// Returns as many checks as there are candidates.
    pub(super) fn all() -> Self {
        Self { only_urgent: false, left: usize::MAX, is_unfinished: false, is_urgent: false }
    }

    /// Returns no check.
    pub(super) fn none() -> Self {
        Self { left: 0, ..Self::all() }
    }

    /// Returns one check, of any candidate.
    pub(super) fn any() -> Self {
        Self { left: 1, ..Self::all() }
    }

    /// Returns one check, of an urgent candidate.
    pub(super) fn urgent() -> Self {
        Self { only_urgent: true, ..Self::any() }
    }

    /// Returns whether no check is left.
    pub(super) fn are_used(&self) -> bool {
        self.left == 0
    }

    /// Takes a check. Returns whether there was one.
    pub(super) fn take(&mut self, is_urgent: bool) -> bool {
        let takes = self.left > 0 && (is_urgent || !self.only_urgent);
        self.left -= usize::from(takes);
        self.is_unfinished |= !takes;
        self.is_urgent |= is_urgent && !takes;
        takes
    }
}

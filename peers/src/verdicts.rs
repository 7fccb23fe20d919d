//! The verdicts of both rules on a record, in a form that all engines share.

use std::fmt;

/// The rules, in the order of [`Verdicts`].
pub(crate) const RULES: [&str; 2] = ["Kubernetes.Service.NodePort.Deployed", "Kubernetes.System.Principal.PublicIP"];

/// Whether each rule alerts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Verdicts(pub [bool; RULES.len()]);

impl Verdicts {
    /// Notes that the rule with this id alerts. Returns whether there is such a rule.
    pub(crate) fn add(&mut self, id: &str) -> bool {
        let position = RULES.iter().position(|rule| *rule == id);
        if let Some(position) = position {
            self.0[position] = true;
        }
        position.is_some()
    }

    /// Reads a digit: 1 for an alert of the first rule plus 2 for an alert of the second.
    pub(crate) fn from_digit(digit: char) -> Option<Self> {
        let number = digit.to_digit(4)?;
        Some(Self([number & 1 != 0, number & 2 != 0]))
    }
}

impl fmt::Display for Verdicts {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self.0 {
            [false, false] => "no alert",
            [true, false] => "an alert of the NodePort rule",
            [false, true] => "an alert of the system principal rule",
            [true, true] => "alerts of both rules",
        })
    }
}

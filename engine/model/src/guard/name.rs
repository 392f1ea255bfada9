//! The guards by name: what a refusal, a question and `quell doctor` call them.
//!
//! Owns the names. Keeps true: nothing refuses or asks under a name that is not here.

use crate::ids::Name;

/// One of them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum GuardName {
    /// What may never be touched.
    Protect,
    /// The only place where something may be.
    OnlyWithin,
    /// How much, in a time and of a run.
    Limits,
    /// Every action is stopped.
    Pause,
    /// An identity that somebody may have planted.
    Bait,
    /// An event from where anybody can write.
    Trust,
    /// A playbook that has probably gone wrong.
    Breaker,
    /// A playbook that is new here.
    WarmUp,
}

impl GuardName {
    /// All of them, in the order in which they are asked.
    pub const ALL: [Self; 8] = [
        Self::Protect,
        Self::OnlyWithin,
        Self::Limits,
        Self::Pause,
        Self::Bait,
        Self::WarmUp,
        Self::Trust,
        Self::Breaker,
    ];

    /// As the journal and the configuration have it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Protect => "protect",
            Self::OnlyWithin => "only_within",
            Self::Limits => "limits",
            Self::Pause => "pause",
            Self::Bait => "bait",
            Self::Trust => "trust",
            Self::Breaker => "breaker",
            Self::WarmUp => "warm_up",
        }
    }
}

impl From<GuardName> for Name {
    fn from(name: GuardName) -> Self {
        name.as_str().into()
    }
}

#[cfg(test)]
mod tests {
    use super::GuardName::{self, Bait, Breaker, Limits, OnlyWithin, Pause, Protect, Trust, WarmUp};

    #[test]
    fn all_are_all() {
        for (at, name) in GuardName::ALL.into_iter().enumerate() {
            // Who adds one here adds it to the list.
            let own = match name {
                Protect => 0,
                OnlyWithin => 1,
                Limits => 2,
                Pause => 3,
                Bait => 4,
                WarmUp => 5,
                Trust => 6,
                Breaker => 7,
            };
            assert_eq!(at, own);
        }
    }
}

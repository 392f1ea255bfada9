//! What-ifs: what is supposed of a night.
//!
//! Owns their words: `CHANNEL-down`, `CHANNEL-refuses`, `PERSON-silent`, `PERSON-acks@5m`, `restart@7m`. Keeps true: each names something that is there, and
//! no two say the opposite.

use crate::escalation::Escalation;
use crate::load::units::duration;
use quell_model::Name;
use quell_model::mistake::nearest;
use std::collections::BTreeSet;
use std::time::Duration;

/// One of them.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Suppose {
    /// A channel takes nothing now.
    Down(Name),
    /// A channel refuses everything for good: its token was revoked, its secret is not set.
    Refuses(Name),
    /// Somebody does not answer, as nobody does of whom nothing is said.
    Silent(Name),
    /// Somebody answers so long after the incident was opened.
    Acks(Name, Duration),
    /// quell is killed, and started again.
    Restart(Duration),
}

impl Suppose {
    /// The channel that takes nothing, and whether it may yet.
    pub(super) fn untaking(&self) -> Option<(&Name, Untaking)> {
        match self {
            Self::Down(channel) => Some((channel, Untaking::Down)),
            Self::Refuses(channel) => Some((channel, Untaking::Refuses)),
            Self::Silent(_) | Self::Acks(..) | Self::Restart(_) => None,
        }
    }

    /// How long after the beginning it happens; none: it holds all night.
    pub(super) fn after(&self) -> Option<Duration> {
        match self {
            Self::Acks(_, after) | Self::Restart(after) => Some(*after),
            Self::Down(_) | Self::Refuses(_) | Self::Silent(_) => None,
        }
    }
}

/// How a channel takes nothing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Untaking {
    /// It may yet.
    Down,
    /// It will not.
    Refuses,
}

const FORMS: &str = "`CHANNEL-down`, `CHANNEL-refuses`, `PERSON-silent`, `PERSON-acks@5m` or `restart@7m`";

/// The channels that are configured.
pub(super) fn channels(escalation: &Escalation) -> Vec<Name> {
    let channels = &escalation.channels;
    let own = [("console", channels.console), ("slack", channels.slack.is_some()), ("email", channels.email.is_some())];
    let own = own.into_iter().filter(|(_, is_there)| *is_there).map(|(name, _)| Name::from(name));
    own.chain(channels.webhooks.keys().cloned()).collect()
}

/// Reads what-ifs, with commas between them.
///
/// # Errors
/// What is wrong with the first that is.
pub fn suppose(text: &str, escalation: &Escalation) -> Result<Vec<Suppose>, String> {
    let mut all = Vec::new();
    for one in text.split(',').map(str::trim).filter(|one| !one.is_empty()) {
        all.push(read(one, escalation)?);
    }
    let silent: BTreeSet<&Name> =
        all.iter().filter_map(|one| if let Suppose::Silent(who) = one { Some(who) } else { None }).collect();
    let down: BTreeSet<&Name> =
        all.iter().filter_map(|one| if let Suppose::Down(channel) = one { Some(channel) } else { None }).collect();
    let refuses = all.iter().find_map(|one| match one {
        Suppose::Refuses(channel) if down.contains(channel) => Some(channel),
        _ => None,
    });
    if let Some(channel) = refuses {
        return Err(format!("`{channel}-down` and `{channel}-refuses` cannot both hold"));
    }
    let answers = all.iter().find_map(|one| match one {
        Suppose::Acks(who, _) if silent.contains(who) => Some(who),
        _ => None,
    });
    match answers {
        Some(who) => Err(format!("`{who}-silent` and `{who}-acks` cannot both hold")),
        None => Ok(all),
    }
}

fn read(one: &str, escalation: &Escalation) -> Result<Suppose, String> {
    let channels = channels(escalation);
    let people = || escalation.people.people.keys();
    let known = |kind: &str, name: &str, known: &[&str]| {
        if known.contains(&name) {
            return Ok(Name::from(name));
        }
        Err(match nearest(name, known.iter().copied()) {
            Some(near) => format!("`{one}`: there is no {kind} `{name}`; did you mean `{near}`?"),
            None if known.is_empty() => format!("`{one}`: there is no {kind} `{name}`: escalation.yaml has none"),
            None => format!("`{one}`: there is no {kind} `{name}`; there is {}", known.join(", ")),
        })
    };
    let channel = |name: &str| known("channel", name, &channels.iter().map(Name::as_str).collect::<Vec<_>>());
    let person = |name: &str| known("person", name, &people().map(Name::as_str).collect::<Vec<_>>());
    let after = |text: &str| duration(text).ok_or_else(|| format!("`{one}`: `{text}` is no duration, like `7m`"));
    if let Some((what, span)) = one.split_once('@') {
        return match (what, what.strip_suffix("-acks")) {
            ("restart", _) => Ok(Suppose::Restart(after(span)?)),
            (_, Some(name)) => Ok(Suppose::Acks(person(name)?, after(span)?)),
            _ => Err(format!("`{one}` is no what-if; expected {FORMS}")),
        };
    }
    if let Some(name) = one.strip_suffix("-down") {
        return channel(name).map(Suppose::Down);
    }
    if let Some(name) = one.strip_suffix("-refuses") {
        return channel(name).map(Suppose::Refuses);
    }
    if let Some(name) = one.strip_suffix("-silent") {
        return person(name).map(Suppose::Silent);
    }
    if one == "restart" || one.ends_with("-acks") {
        return Err(format!("`{one}` says no moment; `{one}@5m` is five minutes after the incident was opened"));
    }
    Err(format!("`{one}` is no what-if; expected {FORMS}"))
}

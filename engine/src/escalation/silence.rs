//! Silences: for which incidents nobody is paged for a while.
//!
//! Owns which silence covers an incident, and the bounds of all of them. Pure: it reads no clock and writes nothing. Keeps true: each
//! has an end; one by level, by tag or by an expression does not hide what is worse than it says; a rule's or a tag's covers an
//! incident only as long as nothing else was detected in it; what cannot be evaluated covers nothing.

use super::facts::Facts;
use quell_model::record::{Covers, SilenceAdded};
use quell_model::{Level, Name, Stamp};
use std::collections::BTreeMap;
use std::time::Duration;

/// No silence is longer: what nobody is told of for months is not watched.
pub const LONGEST: Duration = Duration::from_secs(30 * 24 * 60 * 60);
/// So many at the same time: each is held against every incident, and people have to be able to read the list.
pub const MOST: usize = 100;
/// Characters of an expression.
pub const LONGEST_EXPRESSION: usize = 1000;
/// What says no level and names neither a rule nor an entity hides nothing worse.
const UNSAID: Level = Level::High;

/// A silence that stands.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Silence {
    /// What was said.
    pub added: SilenceAdded,
    /// When it was said.
    pub at: Stamp,
    /// Its end by the clocks of this boot.
    pub until: Stamp,
}

/// What is known of an incident when it is asked whether a silence covers it.
#[derive(Debug)]
pub struct Subject<'a> {
    /// As routes see it, with all rules of its detections.
    pub facts: &'a Facts,
    /// Another rule than that which it began with has been seen in it, or may have been.
    pub is_mixed: bool,
}

/// Those that stand.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Silences(BTreeMap<Name, Silence>);

impl Silences {
    /// Takes one in.
    pub fn add(&mut self, silence: Silence) {
        self.0.insert(silence.added.silence.clone(), silence);
    }

    /// One stands no longer.
    pub fn end(&mut self, name: &Name) -> Option<Silence> {
        self.0.remove(name)
    }

    /// This one.
    #[must_use]
    pub fn get(&self, name: &Name) -> Option<&Silence> {
        self.0.get(name)
    }

    /// All of them, by their ends.
    #[must_use]
    pub fn all(&self) -> Vec<&Silence> {
        let mut all: Vec<&Silence> = self.0.values().collect();
        all.sort_by_key(|silence| (silence.until, &silence.added.silence));
        all
    }

    /// Whether no more may be added.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.0.len() >= MOST
    }

    /// Those whose time is up.
    #[must_use]
    pub fn over(&self, now: Stamp) -> Vec<Name> {
        let over = self.0.values().filter(|silence| silence.until <= now);
        over.map(|silence| silence.added.silence.clone()).collect()
    }

    /// When the next ends.
    #[must_use]
    pub fn next(&self) -> Option<Stamp> {
        self.0.values().map(|silence| silence.until).min()
    }

    /// The one that covers an incident for longest. `truth` says what an expression gives for it; none: it gives nothing.
    #[must_use]
    pub fn covering(&self, of: &Subject<'_>, now: Stamp, truth: &dyn Fn(&str) -> Option<bool>) -> Option<&Silence> {
        let standing = self.0.values().filter(|silence| silence.until > now);
        let covering = standing.filter(|silence| covers(&silence.added.covers, of, truth));
        covering.max_by_key(|silence| (silence.until, &silence.added.silence))
    }
}

/// Whether it covers this.
#[must_use]
pub fn covers(said: &Covers, of: &Subject<'_>, truth: &dyn Fn(&str) -> Option<bool>) -> bool {
    let facts = of.facts;
    let names_it = said.rule.is_some() || said.entity.is_some();
    let most = said.level.or((!names_it).then_some(UNSAID));
    let is_rule = |rule: &Name| !of.is_mixed && !facts.rules.is_empty() && facts.rules.iter().all(|one| one == rule);
    let is_entity = |entity: &String| facts.entity.id.as_str() == entity || facts.entity.to_string() == *entity;
    most.is_none_or(|most| facts.level <= most)
        && said.rule.as_ref().is_none_or(is_rule)
        && said.tag.as_ref().is_none_or(|tag| !of.is_mixed && facts.tags.contains(tag))
        && said.entity.as_ref().is_none_or(is_entity)
        && said.expression.as_ref().is_none_or(|expression| truth(expression) == Some(true))
}

/// What is wrong with what somebody wants to be silenced; none: nothing.
#[must_use]
pub fn objection(said: &Covers) -> Option<String> {
    if *said == Covers::default() {
        let what = "a silence says of which incidents: `match`, `rule`, `entity`, `tag` or `level`".to_owned();
        return Some(what);
    }
    let texts = [
        ("match", said.expression.as_deref()),
        ("rule", said.rule.as_ref().map(Name::as_str)),
        ("entity", said.entity.as_deref()),
        ("tag", said.tag.as_ref().map(Name::as_str)),
    ];
    for (key, text) in texts.into_iter().filter_map(|(key, text)| Some((key, text?))) {
        if text.trim().is_empty() {
            return Some(format!("`{key}` is empty"));
        }
        if text.chars().count() > LONGEST_EXPRESSION {
            return Some(format!("`{key}` is longer than {LONGEST_EXPRESSION} characters"));
        }
    }
    let expression = said.expression.as_deref()?;
    crate::playbook::check::objection(expression).map(|what| format!("`match: {expression}`: {what}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(minutes: u32) -> Stamp {
        Stamp { wall: jiff::Timestamp::UNIX_EPOCH, boot_ns: 1 }.after(Duration::from_secs(60) * minutes)
    }

    fn silence(name: &str, minutes: u32, covers: Covers) -> Silence {
        let (by, via, reason) = ("ana".into(), "socket".into(), "a deploy".into());
        let until = at(minutes);
        let added = SilenceAdded { silence: name.into(), covers, until, maintenance: false, by, via, reason };
        Silence { added, at: at(0), until }
    }

    fn facts(level: Level) -> Facts {
        Facts { level, ..Facts::sample() }
    }

    fn is_covered(covers_: &Covers, facts: &Facts, is_mixed: bool) -> bool {
        covers(covers_, &Subject { facts, is_mixed }, &|text| (text != "broken").then_some(text == "yes"))
    }

    #[test]
    fn what_is_worse_than_a_silence_says_is_not_hidden_by_it() {
        let tag = || Some(Name::from("attack.t1059.004"));
        let cases = [
            (Covers { level: Some(Level::Medium), ..Covers::default() }, Level::Medium),
            (Covers { level: Some(Level::Critical), ..Covers::default() }, Level::Critical),
            (Covers { tag: tag(), ..Covers::default() }, Level::High),
            (Covers { tag: tag(), level: Some(Level::Critical), ..Covers::default() }, Level::Critical),
            (Covers { tag: tag(), level: Some(Level::Low), ..Covers::default() }, Level::Low),
            (Covers { expression: Some("yes".into()), ..Covers::default() }, Level::High),
            // Whoever names a rule or an entity means it.
            (Covers { rule: Some("shell-from-web-server".into()), ..Covers::default() }, Level::Critical),
            (Covers { entity: Some("nginx.service".into()), ..Covers::default() }, Level::Critical),
            (
                Covers { entity: Some("nginx.service".into()), level: Some(Level::High), ..Covers::default() },
                Level::High,
            ),
        ];
        for (covers, most) in cases {
            for level in Level::ALL {
                assert_eq!(is_covered(&covers, &facts(level), false), level <= most, "{covers:?} {level}");
            }
        }
    }

    #[test]
    fn all_that_is_said_has_to_hold() {
        let whole = Covers {
            expression: Some("yes".into()),
            rule: Some("shell-from-web-server".into()),
            entity: Some("unit nginx.service on web-1".into()),
            tag: Some("attack.t1059.004".into()),
            level: Some(Level::High),
        };
        assert!(is_covered(&whole, &facts(Level::High), false));
        let others = [
            Covers { expression: Some("no".into()), ..whole.clone() },
            Covers { expression: Some("broken".into()), ..whole.clone() },
            Covers { rule: Some("another".into()), ..whole.clone() },
            Covers { entity: Some("unit nginx.service on web-2".into()), ..whole.clone() },
            Covers { tag: Some("attack.impact".into()), ..whole.clone() },
            Covers { level: Some(Level::Low), ..whole },
        ];
        for other in others {
            assert!(!is_covered(&other, &facts(Level::High), false), "{other:?}");
        }
    }

    #[test]
    fn another_rule_in_the_same_incident_is_not_hidden_by_the_silence_of_the_first() {
        let mut mixed = facts(Level::High);
        mixed.rules.insert("another".into());
        let rule = Covers { rule: Some("shell-from-web-server".into()), ..Covers::default() };
        let tag = Covers { tag: Some("attack.t1059.004".into()), ..Covers::default() };
        let entity = Covers { entity: Some("nginx.service".into()), ..Covers::default() };
        assert!(!is_covered(&rule, &mixed, true) && !is_covered(&tag, &mixed, true));
        assert!(is_covered(&entity, &mixed, true), "whatever happens to an entity is meant");
    }

    #[test]
    fn the_one_that_ends_last_holds_and_none_past_its_end() {
        let all = Covers { level: Some(Level::Critical), ..Covers::default() };
        let mut silences = Silences::default();
        for (name, minutes) in [("s-1", 10), ("s-2", 30), ("s-3", 20)] {
            silences.add(silence(name, minutes, all.clone()));
        }
        let facts = facts(Level::High);
        let holds = |silences: &Silences, minute| {
            let of = Subject { facts: &facts, is_mixed: false };
            silences.covering(&of, at(minute), &|_| None).map(|silence| silence.added.silence.to_string())
        };
        assert_eq!(holds(&silences, 0).as_deref(), Some("s-2"));
        assert_eq!((silences.next(), silences.over(at(20))), (Some(at(10)), vec!["s-1".into(), "s-3".into()]));
        assert_eq!(holds(&silences, 30), None);
        silences.end(&"s-2".into());
        assert_eq!(holds(&silences, 0).as_deref(), Some("s-3"));
    }

    #[test]
    fn what_makes_no_sense_is_said_with_the_nearest_right_word() {
        let expression = |text: &str| objection(&Covers { expression: Some(text.into()), ..Covers::default() });
        let said = [
            objection(&Covers::default()),
            objection(&Covers { rule: Some(" ".into()), ..Covers::default() }),
            objection(&Covers { entity: Some("e".repeat(LONGEST_EXPRESSION + 1)), ..Covers::default() }),
            expression("incident.levle == \"low\""),
            expression("incident.entity.nod == \"n\""),
            expression("event.pid == 1"),
            expression("incident.level =="),
            expression("incident.level"),
        ];
        let said: Vec<String> = said.into_iter().map(|said| said.expect("it is wrong")).collect();
        insta::assert_snapshot!(said.join("\n"));
        assert_eq!(expression("incident.tags.contains(\"attack.impact\")"), None);
    }
}

//! Rules and tags that a playbook asks for, to start or to go on: whether they are loaded, and bad enough for the level.
//!
//! Asks the trigger itself what it would want, so that what checks clean also starts.

use crate::load::Known;
use crate::load::reader::Reader;
use crate::load::trigger::TriggerPlaces;
use crate::load::yaml::Place;
use crate::trigger::{is_below, is_called, is_tagged};
use quell_model::{Level, RuleRef};

pub(super) fn check(reader: &mut Reader<'_>, asked: &TriggerPlaces, known: &Known<'_>) {
    let Some(rules) = known.rules else { return };
    let least = asked.level.map(|(level, _)| level).unwrap_or_default();
    for (name, at) in &asked.rules {
        let mine: Vec<&RuleRef> = rules.iter().filter(|rule| is_called(rule, name)).collect();
        if mine.is_empty() {
            let mistake = reader.source.warning(*at, format!("no loaded rule is called `{name}`"));
            let names = rules.iter().map(|rule| rule.name.as_str());
            reader.note_near(mistake.expected("a rule's name, id or file stem"), name.as_str(), names);
        } else {
            too_low(reader, *at, &format!("rule `{name}` is"), &mine, least);
        }
    }
    for (tag, at) in &asked.tags {
        let mine: Vec<&RuleRef> = rules.iter().filter(|rule| is_tagged(rule, tag)).collect();
        if mine.is_empty() {
            let all = || rules.iter().flat_map(|rule| &rule.tags);
            // `attack.t1059.004` where only rules of `attack.t1059` are loaded: the wider tag is what is meant.
            let above = all().find(|other| is_below(tag, other)).map(|tag| tag.to_string());
            let mistake = reader.source.warning(*at, format!("no loaded rule has the tag `{tag}`"));
            let expected = "a tag as rules write it, like attack.t1059.004, or one above it, like attack.t1059";
            let mut mistake = mistake.expected(expected);
            mistake.nearest = above.or_else(|| reader.nearest(tag.as_str(), all().map(|tag| tag.as_str())));
            reader.note(mistake);
        } else {
            too_low(reader, *at, &format!("every loaded rule with the tag `{tag}` is"), &mine, least);
        }
    }
    if let (Some((_, at)), true, true) = (asked.level, asked.rules.is_empty(), asked.tags.is_empty()) {
        too_low(reader, at, "every loaded rule is", &rules.iter().collect::<Vec<_>>(), least);
    }
}

/// Rules that are all below the level that is asked for start nothing.
fn too_low(reader: &mut Reader<'_>, at: Place, which: &str, rules: &[&RuleRef], least: Level) {
    let Some(highest) = rules.iter().map(|rule| rule.level).max().filter(|highest| *highest < least) else { return };
    let what = format!("{which} below `level: {least}`, and is passed over");
    reader.warning(at, what, format!("`level: {highest}`, or another rule"));
}

//! A page as a message of Slack: Block Kit, and the plain text that notifications and screen readers have.
//!
//! Owns what stands where. What others wrote is in `plain_text` and `rich_text` alone, where nothing is markup; only the text beside
//! the blocks is read as markup, and is escaped. Keeps true: every bound of Block Kit (<https://docs.slack.dev/reference/block-kit>);
//! what is left out says so, and how it is seen; a button carries a mark, and never what it does to what.
//!
//! ```text
//! header    [high] A shell reads from a socket: unit nginx.service on web-1
//! rich_text what, how bad, how it stands, why now, why you; what is asked
//! context   the story so far
//! actions   a button an act                     or, when it is over: the outcome
//! context   the commands that do the same
//! ```

use super::text::{LINE, NAME, cut, escaped, fitting, line};
use crate::notify::mark::{Mark, MarkKey};
use crate::notify::plain::{by_hand, subject};
use quell_model::notice::{Act, Asking, Letter, Notice, State, To};
use slack_morphism::prelude::*;

/// What every `action_id` of quell's buttons begins with.
const ACTION: &str = "quell:";

/// Of a header (`plain_text`).
const HEADER: usize = 150;
/// Of the text of one block: 3,000, less what says how much was left out.
const BLOCK: usize = 2900;
/// Of the text beside the blocks: an update takes 4,000.
const TEXT: usize = 3000;
/// Buttons of one block.
const BUTTONS: usize = 25;
/// On a button.
const LABEL: usize = 75;
/// Of what a button carries.
const VALUE: usize = 2000;
/// Of its name.
const ACTION_ID: usize = 255;
/// Of all blocks as JSON. Slack's own bound is in no reference; it refuses from some 13,200 on (slackapi/bolt-js, issue 2509).
const WHOLE: usize = 12_000;

/// What a message shows.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Content {
    /// Where blocks are not: notifications, screen readers.
    pub(super) text: String,
    pub(super) blocks: Vec<SlackBlock>,
}

impl Content {
    fn new(text: String, blocks: Vec<SlackBlock>) -> Self {
        Self { text: cut(&escaped(&text), TEXT), blocks }
    }
}

/// The `action_id` of this act's button.
#[must_use]
pub fn action_id(act: &Act) -> String {
    format!("{ACTION}{}", act.word())
}

/// The act of a button with this `action_id`; none: it is not quell's.
#[must_use]
pub fn act_of(action_id: &str) -> Option<Act> {
    Act::of_word(action_id.strip_prefix(ACTION)?)
}

/// The one message about what a letter is about. Without a key there are no buttons: nothing takes in what they send.
pub(super) fn message(letter: &Letter, key: Option<&MarkKey>) -> Content {
    // What is asked is shown as fully as a message holds.
    let whole = |parts: usize| {
        let blocks = whole(letter, key, BLOCK / parts);
        (size(&blocks) <= WHOLE).then_some(blocks)
    };
    let blocks = [1, 2, 4, 8].into_iter().find_map(whole);
    blocks.map_or_else(|| words(letter), |blocks| Content::new(subject(letter), blocks))
}

/// The same without anything that Slack could refuse: where it says that it does not take the other.
pub(super) fn words(letter: &Letter) -> Content {
    let told = crate::notify::plain::lines(letter);
    let (lines, left) = fitting(told.iter(), LINE, BLOCK);
    let mut text = lines.join("\n");
    if left > 0 {
        text.push_str(&format!("\n… and {left} more lines"));
    }
    let section = SlackSectionBlock::new().with_text(plain(text).into());
    Content::new(subject(letter), vec![section.into()])
}

/// A text as it is: one block in which nothing is markup.
pub(super) fn said(text: &str) -> Content {
    Content::new(text.to_owned(), vec![SlackSectionBlock::new().with_text(plain(text.to_owned()).into()).into()])
}

/// What is said in the thread of it: why now, and to whom.
pub(super) fn reply(letter: &Letter, member: Option<&str>) -> Content {
    let notice = &letter.notice;
    let (because, why) = (line(&notice.because, LINE), line(&letter.page.because, LINE));
    let state = match &notice.state {
        State::Over => format!("{}: ", notice.stands()),
        State::Open | State::Acknowledged(_) => String::new(),
    };
    let again = if letter.repeat { "(repeat) " } else { "" };
    let mut said = format!("{again}{state}{because}");
    if !letter.page.quiet && notice.state != State::Over && !why.is_empty() {
        said.push_str(&format!("\n{}: {why}", why_told(letter)));
    }
    if said.is_empty() {
        notice.stands().clone_into(&mut said);
    }
    let mention = member.filter(|_| !letter.page.quiet);
    let mut elements: Vec<SlackRichTextInlineElement> = Vec::new();
    if let Some(member) = mention {
        elements.push(SlackRichTextUser::new(SlackUserId::new(member.to_owned())).into());
        elements.push(" ".into());
    }
    elements.push(said.as_str().into());
    let text = mention.map_or_else(|| escaped(&said), |member| format!("<@{member}> {}", escaped(&said)));
    let block = SlackRichTextBlock::new(vec![SlackRichTextSection::new(elements).into()]);
    Content { text: cut(&text, TEXT), blocks: vec![block.into()] }
}

/// With so much room for each list.
fn whole(letter: &Letter, key: Option<&MarkKey>, room: usize) -> Vec<SlackBlock> {
    let notice = &letter.notice;
    let header = SlackHeaderBlock::new(plain(cut(&subject(letter), HEADER)).into());
    let mut blocks: Vec<SlackBlock> = vec![header.into(), rich(facts(letter))];
    if let Some(asking) = &notice.question {
        blocks.push(rich(question(asking, room)));
    }
    blocks.extend(story(notice, room));
    let pressed = key.map_or_else(Vec::new, |key| buttons(notice, key));
    // What has no button has a command; what is over is looked at alone.
    let has_all = pressed.len() == notice.acts().len();
    if notice.state == State::Over {
        blocks.push(rich(vec![row(notice.stands(), &line(&notice.because, LINE))]));
    } else if !pressed.is_empty() {
        blocks.push(SlackActionsBlock::new(pressed).into());
    }
    let commands = by_hand(notice);
    let shown = commands.iter().filter(|command| !has_all || command.starts_with("look:"));
    // Nothing is in columns here.
    let aligned =
        |command: &String| command.split_once(':').map(|(name, told)| format!("{name}: {}", told.trim_start()));
    let shown: Vec<String> = shown.filter_map(aligned).collect();
    blocks.extend(small(fitting(shown.iter(), LINE, room)));
    blocks
}

/// What it is, how it stands, and why somebody is told.
fn facts(letter: &Letter) -> Vec<SlackRichTextElement> {
    let notice = &letter.notice;
    let state = match &notice.state {
        State::Acknowledged(by) => format!("acknowledged by {}", line(by.as_str(), NAME)),
        State::Open | State::Over => notice.stands().to_owned(),
    };
    let mut rows = vec![
        row("what", &line(&notice.title, NAME)),
        row("where", &line(&notice.entity, NAME)),
        row("level", &format!("{}, {state}", notice.level.as_str())),
    ];
    // When it is over, that stands below as its outcome.
    if notice.state != State::Over {
        rows.push(row("why now", &line(&notice.because, LINE)));
    }
    if !letter.page.quiet && notice.state != State::Over {
        rows.push(row(why_told(letter), &line(&letter.page.because, LINE)));
    }
    if letter.repeat {
        rows.push(row("repeat", "this may have reached you before: nobody knows whether it did"));
    }
    rows
}

/// Whoever reads a channel is not told why somebody else was told.
fn why_told(letter: &Letter) -> &'static str {
    if matches!(letter.page.to, To::Person(_)) { "why you" } else { "why here" }
}

/// What exactly would be done, to what, and what silence means.
fn question(asking: &Asking, room: usize) -> Vec<SlackRichTextElement> {
    let Asking { run, playbook, step, .. } = asking;
    let more = format!("`quell run show {run}`");
    let detected = line(&asking.detected, NAME);
    let mut all = Vec::from_iter((!detected.is_empty()).then(|| row("detected", &detected)));
    all.push(row("asked by", &format!("run {run} of {}, step {step}", line(playbook.as_str(), NAME))));
    let because = line(&asking.because, LINE);
    all.extend((!because.is_empty()).then(|| row("why it asks", &because)));
    all.extend(asking.action.as_ref().map(|action| row("it would do", action.as_str())));
    all.extend(listed("blast radius", &asking.blast_radius, room / 3, &more));
    all.extend(listed("to", &asking.targets, room / 3, &more));
    let (calls, left) = fitting(asking.calls.iter(), room, room);
    if !calls.is_empty() || left > 0 {
        all.push(label("calls"));
        let mut calls = calls.join("\n");
        if left > 0 {
            calls.push_str(&format!("\n… and {left} more: {more}"));
        }
        all.push(SlackRichTextPreformatted::new(vec![calls.trim_start().into()]).into());
    }
    all.extend(listed("note", &asking.warnings, room / 3, &more));
    all.push(row("may answer", &line(&asking.who, LINE)));
    let until = SlackRichTextDate::new(SlackDateTime(asking.until), "{date_short_pretty} {time_secs}".to_owned())
        .with_fallback(format!("{:.0}", asking.until));
    let mut last = vec![bold("until"), until.into()];
    last.push(format!(", and without an answer: {}", line(asking.otherwise.as_str(), NAME)).into());
    all.push(SlackRichTextSection::new(last).into());
    all
}

/// A name with rows below it, as many as have room.
fn listed(name: &str, rows: &[String], room: usize, more: &str) -> Vec<SlackRichTextElement> {
    let (mut kept, left) = fitting(rows.iter(), LINE, room);
    if left > 0 {
        kept.push(format!("… and {left} more: {more}"));
    }
    if kept.is_empty() {
        return Vec::new();
    }
    let items = kept.into_iter().map(|row| SlackRichTextSection::from(row).into()).collect();
    vec![label(name), SlackRichTextList::new(SlackRichTextListStyle::Bullet, items).into()]
}

fn story(notice: &Notice, room: usize) -> Option<SlackBlock> {
    small(fitting(notice.story.iter(), LINE, room))
}

/// In small letters.
fn small((lines, left): (Vec<String>, usize)) -> Option<SlackBlock> {
    let mut text = lines.join("\n");
    if left > 0 {
        text.push_str(&format!("\n… and {left} more"));
    }
    let element = SlackContextBlockElement::Plain(plain(text.trim_start().to_owned()));
    (!text.is_empty()).then(|| SlackContextBlock::new(vec![element]).into())
}

/// A button an act, those that Slack has room for.
fn buttons(notice: &Notice, key: &MarkKey) -> Vec<SlackActionBlockElement> {
    let mark = Mark { ladder: notice.ladder.clone(), generation: notice.generation, person: None };
    let value = key.seal(&mark);
    let acts = notice.acts();
    let fits = acts.iter().filter(|act| action_id(act).len() <= ACTION_ID && value.len() <= VALUE);
    fits.take(BUTTONS).map(|act| button(act, value.clone()).into()).collect()
}

fn button(act: &Act, value: String) -> SlackBlockButtonElement {
    let label = line(&act.label(), LABEL);
    let mut button = SlackBlockButtonElement::new(plain(label.clone()).into())
        .with_action_id(SlackActionId::new(action_id(act)))
        .with_value(value);
    button.style = match act {
        Act::Acknowledge => Some(SlackBlockButtonStyle::Primary),
        Act::FalsePositive | Act::Undo => Some(SlackBlockButtonStyle::Danger),
        // What playbooks mean by an answer is theirs; these two are quell's own.
        Act::Choose(choice) if choice.as_str() == "approve" => Some(SlackBlockButtonStyle::Primary),
        Act::Choose(choice) if choice.as_str() == "deny" => Some(SlackBlockButtonStyle::Danger),
        Act::Escalate | Act::Resolve | Act::Keep | Act::Choose(_) => None,
    };
    let asks = match act {
        Act::Resolve => "It is over, for everybody who was told. What was done stays as it is.",
        Act::FalsePositive => {
            "It was no attack: what was done is taken back, the incident is over, and an exception is drafted."
        }
        Act::Undo => "What was done is taken back: whatever was contained is free again.",
        Act::Acknowledge | Act::Escalate | Act::Keep | Act::Choose(_) => return button,
    };
    let (title, text) = (plain(format!("{label}?")), plain(asks.to_owned()));
    let (yes, no) = (plain("Yes".to_owned()), plain("No".to_owned()));
    button.with_confirm(SlackBlockConfirmItem::new(title.into(), text.into(), yes.into(), no.into()))
}

/// Text in which nothing is markup, `:names:` of pictures neither.
fn plain(text: String) -> SlackBlockPlainText {
    SlackBlockPlainText::new(text).with_emoji(false)
}

fn rich(elements: Vec<SlackRichTextElement>) -> SlackBlock {
    SlackRichTextBlock::new(elements).into()
}

fn bold(name: &str) -> SlackRichTextInlineElement {
    SlackRichTextText::new(format!("{name}: ")).bold().into()
}

/// `name: value`.
fn row(name: &str, value: &str) -> SlackRichTextElement {
    let value = if value.is_empty() { "-" } else { value };
    SlackRichTextSection::new(vec![bold(name), value.into()]).into()
}

fn label(name: &str) -> SlackRichTextElement {
    SlackRichTextSection::new(vec![bold(name)]).into()
}

/// How long Slack takes them for.
fn size(blocks: &[SlackBlock]) -> usize {
    serde_json::to_string(blocks).map_or(usize::MAX, |text| text.chars().map(char::len_utf16).sum())
}

#[cfg(test)]
mod tests;

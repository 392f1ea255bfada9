//! A page in plain lines: on a terminal, and in the text of a mail.
//!
//! Owns the words. Never prints.

use crate::text::one_line as line;
use quell_model::notice::{Asking, Letter, Notice, State};

/// The longest line of what others wrote, in characters.
const LONGEST: usize = 300;
/// The longest title.
pub(crate) const TITLE: usize = 150;

/// What a page is called: a mail's subject.
#[must_use]
pub fn subject(letter: &Letter) -> String {
    let notice = &letter.notice;
    let again = if letter.repeat { "(repeat) " } else { "" };
    let state = match &notice.state {
        State::Open if notice.question.is_some() => "answer wanted: ".to_owned(),
        State::Open => String::new(),
        State::Acknowledged(_) | State::Over => format!("{} ", notice.stands()),
    };
    let (title, entity) = (line(&notice.title, TITLE), line(&notice.entity, TITLE));
    // What is asked has its mark.
    let between = if title.ends_with('?') { "" } else { ":" };
    format!("{again}[{}] {state}{title}{between} {entity}", notice.level.as_str())
}

/// What is to be known, and what to do, a line each.
#[must_use]
pub fn lines(letter: &Letter) -> Vec<String> {
    let notice = &letter.notice;
    let of = notice.incident.as_ref().map(|id| format!(", incident {id}")).unwrap_or_default();
    let state = match &notice.state {
        State::Acknowledged(by) => format!("acknowledged by {by}"),
        State::Open | State::Over => notice.stands().to_owned(),
    };
    let mut all = vec![
        format!("{} about {}", line(&notice.title, TITLE), line(&notice.entity, TITLE)),
        format!("level {}, {state}{of}", notice.level.as_str()),
    ];
    all.extend(wanted(notice));
    all.push(format!("why now: {}", line(&notice.because, LONGEST)));
    all.push(format!("why you: {}", line(&letter.page.because, LONGEST)));
    if !letter.page.also.is_empty() {
        let others: Vec<&str> = letter.page.also.iter().map(|name| name.as_str()).collect();
        all.push(format!("it also tells: {}", line(&others.join(", "), LONGEST)));
    }
    if letter.repeat {
        all.push("this may have reached you before: quell was ended while it was on its way".to_owned());
    }
    all.extend(notice.story.iter().map(|told| format!("- {}", line(told, LONGEST))));
    if notice.state == State::Over {
        return all;
    }
    if let Some(asking) = &notice.question {
        all.extend(question(asking));
    }
    all.extend(by_hand(notice));
    all
}

/// What is asked about, until when, and what silence means: what whoever reads no further has to know.
#[must_use]
pub(crate) fn wanted(notice: &Notice) -> Vec<String> {
    let Some(asking) = notice.question.as_ref().filter(|_| notice.state != State::Over) else { return Vec::new() };
    let detected = line(&asking.detected, TITLE);
    let mut all = Vec::from_iter((!detected.is_empty()).then(|| format!("detected:     {detected}")));
    let until = asking.until.strftime("%Y-%m-%d %H:%M:%S UTC");
    all.push(format!("answer by:    {until}; without an answer: {}", line(asking.otherwise.as_str(), TITLE)));
    all
}

/// The commands that look at it and answer it, a line each, each with its name before it.
#[must_use]
pub(crate) fn by_hand(notice: &Notice) -> Vec<String> {
    let generation = notice.generation;
    match (&notice.question, &notice.incident) {
        (Some(asking), _) => {
            let Asking { run, step, .. } = &**asking;
            let answer =
                |choice| format!("answer:       quell run answer {run}/{step} {choice} --generation {generation}");
            asking.choices.iter().map(answer).collect()
        }
        (None, Some(id)) => {
            vec![
                format!("look:         quell incident show {id}"),
                format!("acknowledge:  quell incident ack {id} --generation {generation}"),
                format!("hand it on:   quell incident escalate {id}"),
            ]
        }
        (None, None) => Vec::new(),
    }
}

/// What a person has to know to judge it: what exactly would be done, to what.
fn question(asking: &Asking) -> Vec<String> {
    let Asking { run, playbook, step, .. } = asking;
    let mut all = vec![format!("asked by:     run {run} of {}, step {step}", line(playbook.as_str(), TITLE))];
    let because = line(&asking.because, LONGEST);
    all.extend((!because.is_empty()).then(|| format!("why it asks:  {because}")));
    all.extend(asking.action.as_ref().map(|action| format!("it would do:  {action}")));
    let rows = |name: &str, of: &[String]| {
        of.iter().map(|one| format!("{name}{}", line(one, LONGEST))).collect::<Vec<String>>()
    };
    all.extend(rows("blast radius: ", &asking.blast_radius));
    all.extend(rows("to:           ", &asking.targets));
    all.extend(rows("call:         ", &asking.calls));
    all.extend(rows("note:         ", &asking.warnings));
    all.push(format!("may answer:   {}", line(&asking.who, LONGEST)));
    all
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use quell_model::notice::{Page, PageKey, To, Way};
    use quell_model::{Level, Name};

    /// A page about something that an attacker named.
    pub(crate) fn letter(title: &str) -> Letter {
        let way = Way::Email("ana@example.org".into());
        let page = Page::new(To::Person("ana".into()), way, "on call in primary: layer 1".into());
        let notice = Notice {
            ladder: "i-0f1e2d3c4b5a".into(),
            incident: Some("i-0f1e2d3c4b5a".into()),
            level: Level::High,
            title: title.into(),
            entity: "unit nginx.service on web-1".into(),
            state: State::Open,
            because: "an incident of level high was opened".into(),
            story: vec!["run r-1 of contain-reverse-shell (enforce) is running".into()],
            generation: 1,
            question: None,
        };
        Letter {
            key: PageKey::of("i-0f1e2d3c4b5a", 3, &page),
            page,
            notice,
            repeat: false,
            earlier: None,
            is_bundle: false,
            last_of: Vec::new(),
        }
    }

    #[test]
    fn a_page_says_what_why_and_what_to_do() {
        let mut letter = letter("A shell reads from a socket");
        assert_eq!(
            lines(&letter),
            [
                "A shell reads from a socket about unit nginx.service on web-1",
                "level high, open, incident i-0f1e2d3c4b5a",
                "why now: an incident of level high was opened",
                "why you: on call in primary: layer 1",
                "- run r-1 of contain-reverse-shell (enforce) is running",
                "look:         quell incident show i-0f1e2d3c4b5a",
                "acknowledge:  quell incident ack i-0f1e2d3c4b5a --generation 1",
                "hand it on:   quell incident escalate i-0f1e2d3c4b5a",
            ]
        );
        assert_eq!(subject(&letter), "[high] A shell reads from a socket: unit nginx.service on web-1");
        (letter.repeat, letter.notice.state) = (true, State::Over);
        assert_eq!(
            subject(&letter),
            "(repeat) [high] resolved A shell reads from a socket: unit nginx.service on web-1"
        );
        let told = lines(&letter);
        assert!(told.iter().any(|line| line.contains("may have reached you before")), "{told:?}");
        assert!(!told.iter().any(|line| line.contains("quell incident ack")), "{told:?}");
    }

    #[test]
    fn a_question_says_first_what_it_is_about_until_when_and_what_silence_means() {
        let mut letter = letter("process.kill bash (41)?");
        letter.notice.ladder = "r-1/kill/approve".into();
        letter.notice.question = Some(Box::new(Asking {
            run: "r-1".into(),
            playbook: "contain".into(),
            step: "kill".into(),
            detected: "A shell\nreads from a socket".into(),
            because: "mode approve".into(),
            choices: vec!["approve".into(), "deny".into()],
            action: Some("process.kill".into()),
            calls: vec!["pidfd_send_signal signal=KILL".into()],
            blast_radius: vec!["1 target on web-1 (1 process)".into()],
            targets: vec!["bash (41)".into()],
            warnings: vec!["still open: the port".into()],
            who: "1 of ana".into(),
            until: "2026-11-30T07:00:00Z".parse().unwrap(),
            otherwise: "deny".into(),
            not_via: Vec::new(),
        }));
        assert_eq!(subject(&letter), "[high] answer wanted: process.kill bash (41)? unit nginx.service on web-1");
        assert_eq!(
            lines(&letter)[1..],
            [
                "level high, waits for an answer, incident i-0f1e2d3c4b5a",
                "detected:     A shell\\nreads from a socket",
                "answer by:    2026-11-30 07:00:00 UTC; without an answer: deny",
                "why now: an incident of level high was opened",
                "why you: on call in primary: layer 1",
                "- run r-1 of contain-reverse-shell (enforce) is running",
                "asked by:     run r-1 of contain, step kill",
                "why it asks:  mode approve",
                "it would do:  process.kill",
                "blast radius: 1 target on web-1 (1 process)",
                "to:           bash (41)",
                "call:         pidfd_send_signal signal=KILL",
                "note:         still open: the port",
                "may answer:   1 of ana",
                "answer:       quell run answer r-1/kill approve --generation 1",
                "answer:       quell run answer r-1/kill deny --generation 1",
            ]
        );
        letter.notice.state = State::Over;
        assert!(wanted(&letter.notice).is_empty(), "nobody has to answer by then");
    }

    /// Of a byte, of two, of four, and of two characters a sign.
    pub(crate) fn long() -> [String; 4] {
        ["x".repeat(4_000), "\u{df}".repeat(4_000), "\u{1f480}".repeat(4_000), "e\u{301}".repeat(2_000)]
    }

    /// A question of which everything that others write is this.
    pub(crate) fn question_of(text: &str) -> Letter {
        let mut letter = letter(text);
        let some = || text.to_owned();
        let name = || Name::from(text);
        letter.page.because = some();
        letter.page.also = vec![name(), name()];
        letter.notice.entity = some();
        letter.notice.because = some();
        letter.notice.story = vec![some(); 21];
        letter.notice.question = Some(Box::new(Asking {
            run: "r-1".into(),
            playbook: name(),
            step: "kill".into(),
            detected: some(),
            because: some(),
            choices: vec!["approve".into(), "deny".into()],
            action: Some("process.kill".into()),
            calls: vec![some(); 21],
            blast_radius: vec![some(); 3],
            targets: vec![some(); 21],
            warnings: vec![some(); 21],
            who: some(),
            until: "2026-11-30T07:00:00Z".parse().unwrap(),
            otherwise: name(),
            not_via: Vec::new(),
        }));
        letter
    }

    #[test]
    fn what_is_long_is_cut_in_the_subject_and_in_each_line_and_says_so() {
        for text in long() {
            let letter = question_of(&text);
            let cut = |most: usize| format!("{}…", text.chars().take(most - 1).collect::<String>());
            let (title, line) = (cut(TITLE), cut(LONGEST));
            assert_eq!(subject(&letter), format!("[high] answer wanted: {title}: {title}"));
            let all = lines(&letter);
            assert_eq!(all[0], format!("{title} about {title}"));
            for name in ["why now: ", "why you: ", "- ", "call:         ", "blast radius: ", "to:           "] {
                let found: Vec<&String> = all.iter().filter(|one| one.starts_with(name)).collect();
                assert!(!found.is_empty() && found.iter().all(|one| **one == format!("{name}{line}")), "{name}");
            }
            let longest = all.iter().map(|one| one.chars().count()).max().unwrap();
            assert!(longest <= 2 * TITLE + 100, "{longest}");
        }
    }

    #[test]
    fn what_an_attacker_wrote_stays_in_its_line() {
        let letter = letter("x\r\nBcc: all@example.org\r\n\r\n\u{1b}[2J");
        assert!(lines(&letter).iter().all(|line| !line.contains(['\r', '\n', '\u{1b}'])));
        assert!(!subject(&letter).contains(['\r', '\n', '\u{1b}']));
    }
}

//! A page in plain lines: on a terminal, and in the text of a mail.
//!
//! Owns the words. Never prints.

use crate::text::one_line as line;
use quell_model::notice::Letter;

/// The longest line of what others wrote, in characters.
const LONGEST: usize = 300;
/// The longest title.
pub(crate) const TITLE: usize = 150;

/// What a page is called: a mail's subject.
#[must_use]
pub fn subject(letter: &Letter) -> String {
    let notice = &letter.notice;
    let again = if letter.repeat { "(repeat) " } else { "" };
    let state = if notice.state == "open" { String::new() } else { format!("{} ", notice.state) };
    format!("{again}[{}] {state}{}: {}", notice.level.as_str(), line(&notice.title, TITLE), line(&notice.entity, TITLE))
}

/// What is to be known, and what to do, a line each.
#[must_use]
pub fn lines(letter: &Letter) -> Vec<String> {
    let notice = &letter.notice;
    let id = &notice.incident;
    let mut all = vec![
        format!("{} about {}", line(&notice.title, TITLE), line(&notice.entity, TITLE)),
        format!("level {}, {}, incident {id}", notice.level.as_str(), notice.state),
        format!("why now: {}", line(&notice.because, LONGEST)),
        format!("why you: {}", line(&letter.page.because, LONGEST)),
    ];
    if letter.repeat {
        all.push("this may have reached you before: quell was ended while it was on its way".to_owned());
    }
    all.extend(notice.story.iter().map(|told| format!("- {}", line(told, LONGEST))));
    if notice.state != "resolved" {
        all.push(format!("look:         quell incident show {id}"));
        all.push(format!("acknowledge:  quell incident ack {id}"));
        all.push(format!("hand it on:   quell incident escalate {id}"));
    }
    all
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use quell_model::Level;
    use quell_model::notice::{Notice, Page, PageKey, To, Way};

    /// A page about something that an attacker named.
    pub(crate) fn letter(title: &str) -> Letter {
        let page = Page {
            to: To::Person("ana".into()),
            way: Way::Email("ana@example.org".into()),
            because: "on call in primary: layer 1".into(),
        };
        let notice = Notice {
            incident: "i-0f1e2d3c4b5a".into(),
            level: Level::High,
            title: title.into(),
            entity: "unit nginx.service on web-1".into(),
            state: "open".into(),
            because: "an incident of level high was opened".into(),
            story: vec!["run r-1 of contain-reverse-shell (enforce) is running".into()],
            generation: 1,
        };
        Letter { key: PageKey::of("i-0f1e2d3c4b5a", 3, &page), page, notice, repeat: false }
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
                "acknowledge:  quell incident ack i-0f1e2d3c4b5a",
                "hand it on:   quell incident escalate i-0f1e2d3c4b5a",
            ]
        );
        assert_eq!(subject(&letter), "[high] A shell reads from a socket: unit nginx.service on web-1");
        (letter.repeat, letter.notice.state) = (true, "resolved".into());
        assert_eq!(
            subject(&letter),
            "(repeat) [high] resolved A shell reads from a socket: unit nginx.service on web-1"
        );
        let told = lines(&letter);
        assert!(told.iter().any(|line| line.contains("may have reached you before")), "{told:?}");
        assert!(!told.iter().any(|line| line.contains("quell incident ack")), "{told:?}");
    }

    #[test]
    fn what_an_attacker_wrote_stays_in_its_line() {
        let letter = letter("x\r\nBcc: all@example.org\r\n\r\n\u{1b}[2J");
        assert!(lines(&letter).iter().all(|line| !line.contains(['\r', '\n', '\u{1b}'])));
        assert!(!subject(&letter).contains(['\r', '\n', '\u{1b}']));
    }
}

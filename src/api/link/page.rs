//! The pages that links of messages lead to, as HTML.
//!
//! Owns their words and looks. Keeps true: whatever others wrote is escaped and of one line; a page has no script, loads nothing, and
//! reads well on a telephone, in the dark, by somebody who was asleep a minute ago.

use super::{ACT, LONGEST_WHY, TOKEN, WHY};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use quell_actions::notify::markup::{escaped, line};
use quell_engine::escalation::schedule::zone;
use quell_engine::report::LadderTold;
use quell_model::notice::{Act, Asking, Notice, State};
use quell_model::{Level, Name, Person};

/// Of a title or a name, in characters.
const TITLE: usize = 200;
/// Of a line of the story.
const LINE: usize = 500;
/// A call is shown whole, or is none that could be judged: what is longer than this nobody reads.
const CALL: usize = 8_000;

const STYLE: &str = include_str!("page.css");

/// What is said above all else.
pub(super) struct Note {
    kind: &'static str,
    what: String,
    more: String,
}

impl Note {
    /// Something was done.
    pub(super) fn good(what: &str, more: &str) -> Self {
        Self::of("good", what, more)
    }

    /// Something was not done.
    pub(super) fn bad(what: &str, more: &str) -> Self {
        Self::of("bad", what, more)
    }

    /// Nothing is to be done.
    pub(super) fn calm(what: &str, more: &str) -> Self {
        Self::of("calm", what, more)
    }

    fn of(kind: &'static str, what: &str, more: &str) -> Self {
        Self { kind, what: what.to_owned(), more: more.to_owned() }
    }

    fn html(&self) -> String {
        let more = if self.more.is_empty() { String::new() } else { format!("<p>{}</p>", line(&self.more, LINE)) };
        format!(
            "<section class=\"note {}\" role=\"status\"><strong>{}</strong>{more}</section>",
            self.kind,
            line(&self.what, LINE)
        )
    }
}

/// What can be done, and why not by this person.
pub(super) struct Doing {
    pub(super) act: Act,
    pub(super) why_not: Option<String>,
}

/// How it stands, for somebody.
pub(super) struct Board<'a> {
    pub(super) notice: &'a Notice,
    pub(super) told: Option<&'a LadderTold>,
    /// Who looks; none: it is not known.
    pub(super) person: Option<&'a (Name, Person)>,
    /// Empty: there is no form.
    pub(super) acts: Vec<Doing>,
    pub(super) token: String,
    pub(super) now: Timestamp,
    pub(super) note: Option<Note>,
}

/// A page that says only this.
pub(super) fn bare(note: &Note) -> String {
    frame("quell", &note.html())
}

/// A sentence with its capital.
pub(super) fn sentence(said: &str) -> String {
    let mut letters = said.chars();
    letters.next().map(|first| first.to_uppercase().to_string()).unwrap_or_default() + letters.as_str()
}

impl Board<'_> {
    pub(super) fn html(&self) -> String {
        let notice = self.notice;
        let title = line(&notice.title, TITLE);
        let mut body = String::new();
        body.extend(self.note.as_ref().map(Note::html));
        body.push_str(&format!(
            "<header class=\"{}\"><p class=\"state\"><b>{}</b> {}</p><h1>{title}</h1><p class=\"entity\">{}</p></header>",
            self.class(),
            notice.level.as_str(),
            self.stands(),
            line(&notice.entity, TITLE)
        ));
        body.extend(notice.question.as_deref().map(|asking| self.plan(asking)));
        body.push_str(&self.form());
        body.push_str(&self.facts());
        body.push_str(&self.story());
        let who = match self.person {
            Some((name, person)) => {
                format!("You are {} by this link: whoever has it answers in this name.", full_name(name, person))
            }
            None => "This link names nobody: by it everybody may look, and nobody can answer.".to_owned(),
        };
        body.push_str(&format!("<footer><p>{who}</p></footer>"));
        frame(&format!("{} · {title}", notice.level.as_str()), &body)
    }

    fn class(&self) -> &'static str {
        match (&self.notice.state, self.notice.level) {
            (State::Over, _) => "over",
            (_, Level::Critical) => "critical",
            (_, Level::High) => "high",
            (_, Level::Medium | Level::Low | Level::Informational) => "low",
        }
    }

    fn stands(&self) -> String {
        match &self.notice.state {
            State::Acknowledged(by) => format!("acknowledged by {}", line(by.as_str(), TITLE)),
            State::Open | State::Over => self.notice.stands().to_owned(),
        }
    }

    /// What is asked, whole: what would be done to what, who may say so, until when, and what silence means.
    fn plan(&self, asking: &Asking) -> String {
        let mut rows = String::new();
        let detected = line(&asking.detected, TITLE);
        rows.extend((!detected.is_empty()).then(|| row("Detected", &detected)));
        rows.push_str(&row("Until", &self.moment(asking.until)));
        let means = means(&asking.otherwise, asking).map(|means| format!(": {means}")).unwrap_or_default();
        rows.push_str(&row("Without an answer", &format!("<b>{}</b>{means}", line(asking.otherwise.as_str(), TITLE))));
        rows.extend(asking.action.as_ref().map(|action| row("It would do", &code(action.as_str()))));
        rows.push_str(&listed("Blast radius", &asking.blast_radius, |reach| line(reach, LINE)));
        rows.push_str(&listed("To", &asking.targets, |target| line(target, LINE)));
        rows.push_str(&listed("By these calls", &asking.calls, code));
        rows.push_str(&listed("Beware", &asking.warnings, |warning| format!("<em>{}</em>", line(warning, LINE))));
        if !asking.because.is_empty() {
            rows.push_str(&row("Why it asks", &line(&asking.because, LINE)));
        }
        let of = format!("run {} of {}, step {}", asking.run, line(asking.playbook.as_str(), TITLE), asking.step);
        rows.push_str(&row("Asked by", &of));
        rows.push_str(&row("May answer", &line(&asking.who, LINE)));
        format!("<section><h2>What is asked</h2><dl>{rows}</dl></section>")
    }

    fn form(&self) -> String {
        let may: Vec<&Doing> = self.acts.iter().filter(|doing| doing.why_not.is_none()).collect();
        let may_not = self.acts.iter().filter_map(|doing| Some((doing.act.label(), doing.why_not.as_ref()?)));
        let barred: String = may_not
            .map(|(label, why)| format!("<p class=\"barred\">{}: {}</p>", line(&label, TITLE), line(why, LINE)))
            .collect();
        if may.is_empty() {
            return if barred.is_empty() { barred } else { format!("<section>{barred}</section>") };
        }
        let asking = self.notice.question.as_deref();
        let buttons: String = may.iter().enumerate().map(|(at, doing)| button(&doing.act, at == 0, asking)).collect();
        format!(
            "<section><form method=\"post\" autocomplete=\"off\"><input type=\"hidden\" name=\"{TOKEN}\" value=\"{}\">\
             <label for=\"why\">Why (may be empty)</label>\
             <textarea id=\"why\" name=\"{WHY}\" rows=\"2\" maxlength=\"{LONGEST_WHY}\"></textarea>\
             {buttons}</form><p class=\"once\">This link answers once.</p>{barred}</section>",
            escaped(&self.token)
        )
    }

    fn facts(&self) -> String {
        let notice = self.notice;
        let mut rows = String::new();
        rows.extend(notice.incident.as_ref().map(|id| row("Incident", &code(id.as_str()))));
        rows.extend(self.told.map(|told| row("Since", &self.moment(told.since))));
        let ended = self.told.and_then(|told| told.ended.as_ref());
        match ended {
            Some(why) => rows.push_str(&row("Ended", &line(why, LINE))),
            None => rows.push_str(&row("Why now", &line(&notice.because, LINE))),
        }
        rows.push_str(&listed("What is being done", &notice.story, |told| line(told, LINE)));
        rows.extend(notice.incident.as_ref().map(|id| row("More", &code(&format!("quell incident show {id}")))));
        format!("<section><h2>What is known</h2><dl>{rows}</dl></section>")
    }

    /// Who was told, and who said what: the latest first.
    fn story(&self) -> String {
        let Some(told) = self.told.filter(|told| !told.lines.is_empty()) else { return String::new() };
        let lines: String = told
            .lines
            .iter()
            .rev()
            .map(|(at, told)| format!("<li><time>{}</time> {}</li>", self.moment(*at), line(told, LINE)))
            .collect();
        format!("<section><h2>Who was told</h2><ol>{lines}</ol></section>")
    }

    /// In the time zone of who looks, and how far it is from now.
    fn moment(&self, at: Timestamp) -> String {
        let own = self.person.and_then(|(_, person)| zone::find(person.time_zone.as_deref()?));
        let there = at.to_zoned(own.unwrap_or(TimeZone::UTC));
        let is_today = there.date() == self.now.to_zoned(there.time_zone().clone()).date();
        let shown = there.strftime(if is_today { "%H:%M %Z" } else { "%d %b %H:%M %Z" });
        let seconds = at.as_second() - self.now.as_second();
        let span = match seconds.unsigned_abs() {
            seconds @ 0..=119 => format!("{seconds} s"),
            seconds @ 120..=7199 => format!("{} min", seconds / 60),
            seconds @ 7200..=172_799 => format!("{} h", seconds / 3600),
            seconds => format!("{} days", seconds / 86_400),
        };
        let shown = escaped(&shown.to_string());
        if seconds > 0 { format!("{shown}, in {span}") } else { format!("{shown}, {span} ago") }
    }
}

fn frame(title: &str, body: &str) -> String {
    format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
         <meta name=\"color-scheme\" content=\"light dark\"><title>{title}</title><style>{STYLE}</style></head>\
         <body><main>{body}</main></body></html>\n"
    )
}

/// What an answer comes to, where the question is quell's own and not a playbook's words.
fn means(choice: &Name, asking: &Asking) -> Option<&'static str> {
    asking.action.as_ref()?;
    match choice.as_str() {
        "approve" | "run" => Some("it does what stands above"),
        "deny" => Some("nothing of that is done"),
        "keep" => Some("what was done stands"),
        "undo" => Some("what was done is taken back"),
        _ => None,
    }
}

fn button(act: &Act, is_first: bool, asking: Option<&Asking>) -> String {
    let class = if is_first { "first" } else { "other" };
    let what = match act {
        Act::Acknowledge => "You look after it, and nobody else is called.",
        Act::Escalate => "Whoever is next is called at once.",
        Act::Resolve => "It is over. Those who were told are told so.",
        Act::FalsePositive => "It was no attack: what was done is taken back, and an exception drafted.",
        Act::Keep => "What was done stands without an end.",
        Act::Undo => "What was done is taken back.",
        Act::Choose(choice) => asking.and_then(|asking| means(choice, asking)).unwrap_or_default(),
    };
    let what = if what.is_empty() { String::new() } else { format!("<small>{}</small>", sentence(what)) };
    format!(
        "<button class=\"{class}\" name=\"{ACT}\" value=\"{}\">{}{what}</button>",
        escaped(&act.word()),
        line(&act.label(), TITLE)
    )
}

fn row(name: &str, html: &str) -> String {
    format!("<dt>{name}</dt><dd>{html}</dd>")
}

/// Rows under one name; none where there is nothing.
fn listed(name: &str, all: &[String], shown: impl Fn(&str) -> String) -> String {
    if all.is_empty() {
        return String::new();
    }
    let all: String = all.iter().map(|one| format!("<dd>{}</dd>", shown(one))).collect();
    format!("<dt>{name}</dt>{all}")
}

fn code(text: &str) -> String {
    format!("<code>{}</code>", line(text, CALL))
}

fn full_name(name: &Name, person: &Person) -> String {
    let called = person.name.trim();
    let name = line(name.as_str(), TITLE);
    if called.is_empty() || called == name {
        format!("<b>{name}</b>")
    } else {
        format!("<b>{}</b> ({name})", line(called, TITLE))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn notice() -> Notice {
        Notice {
            ladder: "i-0f1e2d3c4b5a".into(),
            incident: Some("i-0f1e2d3c4b5a".into()),
            level: Level::High,
            title: "<script>alert(1)</script>\u{202e}\n".into(),
            entity: "unit <b>nginx</b>".into(),
            state: State::Open,
            because: "opened".into(),
            story: vec!["run r-1 of <i>x</i> is running".into()],
            generation: 1,
            question: None,
        }
    }

    fn board<'a>(notice: &'a Notice, person: Option<&'a (Name, Person)>, told: Option<&'a LadderTold>) -> Board<'a> {
        let acts = notice.acts().into_iter().map(|act| Doing { act, why_not: None }).collect();
        let now = "2026-11-30T06:10:00Z".parse().unwrap();
        Board { notice, told, person, acts, token: "t0".into(), now, note: None }
    }

    #[test]
    fn what_others_wrote_is_no_markup_wherever_it_stands() {
        let evil = "<img src=x onerror=alert(1)>\"'&\u{202e}\n".to_owned();
        let mut notice = notice();
        notice.story = vec![evil.clone()];
        (notice.because, notice.entity, notice.title) = (evil.clone(), evil.clone(), evil.clone());
        notice.question = Some(Box::new(Asking {
            run: "r-1".into(),
            playbook: evil.as_str().into(),
            step: "kill".into(),
            detected: evil.clone(),
            because: evil.clone(),
            choices: vec!["yes_&_<b>".into()],
            action: Some(evil.as_str().into()),
            calls: vec![evil.clone()],
            blast_radius: vec![evil.clone()],
            targets: vec![evil.clone()],
            warnings: vec![evil.clone()],
            who: evil.clone(),
            until: "2026-11-30T06:25:00Z".parse().unwrap(),
            otherwise: evil.as_str().into(),
            not_via: Vec::new(),
        }));
        let at: Timestamp = "2026-11-30T06:00:00Z".parse().unwrap();
        let told = LadderTold { since: at, lines: vec![(at, evil.clone())], ended: Some(evil.clone()) };
        let person = (Name::from(evil.as_str()), Person { name: evil.clone(), ..Person::default() });
        let mut board = board(&notice, Some(&person), Some(&told));
        board.note = Some(Note::bad(&evil, &evil));
        board.acts.push(Doing { act: Act::Keep, why_not: Some(evil) });
        let html = board.html();
        assert!(!html.contains("<img") && !html.contains('\u{202e}') && html.contains("&lt;img"), "{html}");
        let tags = html.matches('<').count();
        let calm = Notice { title: "plain".into(), ..notice.clone() };
        let mut plain = Board { notice: &calm, note: None, ..board };
        plain.note = Some(Note::bad("x", "y"));
        assert_eq!(plain.html().matches('<').count(), tags, "a tag more or less is somebody else's");
        for loads in ["<script", "src=", "url(", "@import", "http-equiv", "<link", "javascript:"] {
            assert!(!plain.html().replace("&lt;img src=", "").contains(loads), "{loads}");
        }
    }

    #[test]
    fn what_is_long_is_cut_where_it_stands_and_says_so() {
        let of = |sign: char| String::from(sign).repeat(20_000);
        let mut notice = notice();
        (notice.title, notice.entity, notice.because) = (of('\u{df}'), of('\u{e9}'), of('\u{f8}'));
        notice.story = vec![of('\u{436}')];
        notice.question = Some(Box::new(Asking {
            run: "r-1".into(),
            playbook: of('a').as_str().into(),
            step: "kill".into(),
            detected: of('\u{3b4}'),
            because: of('\u{3c9}'),
            choices: vec!["approve".into()],
            action: Some("process.kill".into()),
            calls: vec![of('\u{3bb}')],
            blast_radius: vec![of('\u{5d0}')],
            targets: vec![of('\u{4eba}')],
            warnings: vec![of('\u{1f480}')],
            who: of('\u{3c0}'),
            until: "2026-11-30T06:25:00Z".parse().unwrap(),
            otherwise: "deny".into(),
            not_via: Vec::new(),
        }));
        let html = board(&notice, None, None).html();
        for (sign, most) in [
            ('\u{df}', TITLE),
            ('\u{e9}', TITLE),
            ('\u{3b4}', TITLE),
            ('\u{f8}', LINE),
            ('\u{436}', LINE),
            ('\u{3c9}', LINE),
            ('\u{3c0}', LINE),
            ('\u{5d0}', LINE),
            ('\u{4eba}', LINE),
            ('\u{1f480}', LINE),
            ('\u{3bb}', CALL),
        ] {
            let cut = format!("{}…", String::from(sign).repeat(most - 1));
            assert!(html.contains(&cut), "{sign} is cut at {most}");
            assert!(!html.contains(&String::from(sign).repeat(most)), "{sign} goes on");
        }
    }

    #[test]
    fn who_may_answer_has_a_form_and_who_may_not_learns_why() {
        let notice = notice();
        let person = (Name::from("ana"), Person { name: "Ana".into(), ..Person::default() });
        let mut board = board(&notice, Some(&person), None);
        board.acts[5].why_not = Some("no role of theirs has `undo`".into());
        let html = board.html();
        assert_eq!(html.matches("<button").count(), 5, "{html}");
        assert!(html.contains("name=\"act\" value=\"acknowledge\"") && html.contains("value=\"t0\""), "{html}");
        assert!(html.contains("Undo: no role of theirs has `undo`") && html.contains("<b>Ana</b> (ana)"), "{html}");
        let approve = Act::Choose("approve".into());
        assert!(!button(&approve, true, None).contains("<small>"), "the words of a playbook are its own");
        board.acts.clear();
        assert!(!board.html().contains("<form"));
        board.person = None;
        assert!(board.html().contains("names nobody"));
    }

    #[test]
    fn moments_are_in_the_zone_of_who_looks() {
        let notice = notice();
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        let person = (Name::from("ana"), Person { time_zone: Some("Asia/Tokyo".into()), ..Person::default() });
        let board = board(&notice, Some(&person), None);
        assert_eq!(board.moment(at("2026-11-30T06:25:00Z")), "15:25 JST, in 15 min");
        assert_eq!(board.moment(at("2026-11-29T06:09:00Z")), "29 Nov 15:09 JST, 24 h ago");
        let board = Board { person: None, ..board };
        assert_eq!(board.moment(at("2026-11-30T06:09:30Z")), "06:09 UTC, 30 s ago");
    }

    #[test]
    fn what_was_said_begins_with_a_capital() {
        assert_eq!((sentence("you look after it"), sentence("")), ("You look after it".to_owned(), String::new()));
    }
}

//! quell's own JSON, signed: a page, or what a playbook says, for programs.
//!
//! Owns the shape, whose `version` rises with a change that would break a reader, and the signature. Keeps true: the signature is over
//! the moment and the very bytes of the body, so that neither can be another's; a page that is sent again has the same key.
//!
//! ```text
//! X-Quell-Signature: v1= hex( HMAC-SHA256( secret, X-Quell-Timestamp "." body ) )
//! ```

use super::{Headers, written};
use crate::notify::mark::Links;
use crate::send::ways::Message;
use hmac::{Hmac, Mac};
use hyper::header::{HeaderName, HeaderValue};
use jiff::Timestamp;
use quell_model::notice::{Act, Letter, State};
use quell_model::{IncidentId, Json, LadderId, Level, Name, Secret};
use serde::Serialize;
use sha2::Sha256;

const VERSION: u32 = 1;

/// What is signed with.
pub(super) struct Signed(Secret);

#[derive(Serialize)]
struct Body<'a> {
    version: u32,
    /// The same whenever this page is sent.
    key: &'a str,
    /// It may have been sent before.
    repeat: bool,
    to: String,
    /// Why it goes to them.
    why_you: &'a str,
    ladder: &'a LadderId,
    generation: u32,
    incident: Option<&'a IncidentId>,
    level: Level,
    title: &'a str,
    entity: &'a str,
    state: &'static str,
    acknowledged_by: Option<&'a Name>,
    why_now: &'a str,
    story: &'a [String],
    question: Option<Question<'a>>,
    /// What can be done about it.
    acts: Vec<String>,
    /// Where the person to whom it goes can do that.
    answer: Option<String>,
}

#[derive(Serialize)]
struct Question<'a> {
    run: String,
    playbook: &'a Name,
    step: String,
    /// What was detected that it is about; empty where nothing was.
    detected: &'a str,
    because: &'a str,
    choices: &'a [Name],
    action: Option<&'a Name>,
    calls: &'a [String],
    blast_radius: &'a [String],
    targets: &'a [String],
    warnings: &'a [String],
    who: &'a str,
    until: Timestamp,
    otherwise: &'a Name,
}

/// What a playbook says. No page has a `kind`.
#[derive(Serialize)]
struct Said<'a> {
    version: u32,
    kind: &'static str,
    /// The same whenever this is sent.
    key: &'a str,
    level: Level,
    title: &'a str,
    text: &'a str,
    data: &'a serde_json::Map<String, Json>,
}

impl Signed {
    pub(super) fn of(secret: &Secret) -> Self {
        Self(secret.clone())
    }

    pub(super) fn message(&self, letter: &Letter, links: Option<&Links>) -> (Vec<u8>, Headers) {
        self.sealed(letter.key.as_str(), written(&body(letter, links)))
    }

    /// What a playbook says.
    pub(super) fn said(&self, message: &Message) -> (Vec<u8>, Headers) {
        let Message { key, title, text, level, data, .. } = message;
        self.sealed(key, written(&Said { version: VERSION, kind: "message", key, level: *level, title, text, data }))
    }

    fn sealed(&self, key: &str, body: Vec<u8>) -> (Vec<u8>, Headers) {
        let at = Timestamp::now().as_second();
        let text =
            |text: String| HeaderValue::try_from(text).expect("names of runs and steps, digits, letters and marks");
        let headers = vec![
            (HeaderName::from_static("idempotency-key"), text(key.to_owned())),
            (HeaderName::from_static("x-quell-timestamp"), HeaderValue::from(at)),
            (HeaderName::from_static("x-quell-signature"), text(format!("v1={}", self.signature(at, &body)))),
        ];
        (body, headers)
    }

    /// In hex.
    pub(super) fn signature(&self, at: i64, body: &[u8]) -> String {
        let mut mac =
            Hmac::<Sha256>::new_from_slice(self.0.expose().as_bytes()).expect("an HMAC takes a key of any length");
        mac.update(format!("{at}.").as_bytes());
        mac.update(body);
        mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

fn body<'a>(letter: &'a Letter, links: Option<&Links>) -> Body<'a> {
    let notice = &letter.notice;
    let question = notice.question.as_deref().map(|asking| Question {
        run: asking.run.to_string(),
        playbook: &asking.playbook,
        step: asking.step.to_string(),
        detected: &asking.detected,
        because: &asking.because,
        choices: &asking.choices,
        action: asking.action.as_ref(),
        calls: &asking.calls,
        blast_radius: &asking.blast_radius,
        targets: &asking.targets,
        warnings: &asking.warnings,
        who: &asking.who,
        until: asking.until,
        otherwise: &asking.otherwise,
    });
    Body {
        version: VERSION,
        key: letter.key.as_str(),
        repeat: letter.repeat,
        to: letter.page.to.shown(),
        why_you: &letter.page.because,
        ladder: &notice.ladder,
        generation: notice.generation,
        incident: notice.incident.as_ref(),
        level: notice.level,
        title: &notice.title,
        entity: &notice.entity,
        state: match notice.state {
            State::Open => "open",
            State::Acknowledged(_) => "acknowledged",
            State::Over => "over",
        },
        acknowledged_by: match &notice.state {
            State::Acknowledged(by) => Some(by),
            State::Open | State::Over => None,
        },
        why_now: &notice.because,
        story: &notice.story,
        question,
        acts: notice.acts().iter().map(Act::word).collect(),
        answer: links.and_then(|links| links.answer(letter)),
    }
}

//! Marks: what a button or a link carries, so that whoever follows it is known to have had the message.
//!
//! Owns the text of a mark and its MAC (HMAC-SHA256 under a key of the installation's own). Never says what is to be done, and
//! never that it may be: whoever takes a mark asks the ladder, and who somebody is. Keeps true: a mark that was altered in any
//! character, or made under another key, is none.

use hmac::{Hmac, Mac};
use quell_model::notice::Letter;
use quell_model::{Hash, LadderId, Name};
use sha2::Sha256;
use std::sync::Arc;

/// By which way an answer counts that came by a link, whatever message had it.
pub const VIA: &str = "email";
/// What every mark begins with; another version is none.
const VERSION: &str = "q1";
/// Of the MAC's 32 bytes: 128 bits, so that a link stays short enough for one line of a mail.
const MAC_BYTES: usize = 16;

/// Under which marks are made and known. Cheap to clone; never shown.
#[derive(Clone)]
pub struct MarkKey(Arc<[u8; 32]>);

impl std::fmt::Debug for MarkKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("***")
    }
}

/// See the module.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Mark {
    /// Which ladder's message carries it.
    pub ladder: LadderId,
    /// The generation that the message named.
    pub generation: u32,
    /// Whose it is, where having it is what says who somebody is: a link in a mail. None: whoever took it in knows who pressed.
    pub person: Option<Name>,
}

impl MarkKey {
    /// These bytes.
    #[must_use]
    pub fn new(bytes: [u8; 32]) -> Self {
        Self(Arc::new(bytes))
    }

    /// The mark's text: letters, digits, `-`, `_`, `.` and `~`, which need no escaping in a URL; at most some 200 characters.
    #[must_use]
    pub fn seal(&self, mark: &Mark) -> String {
        let body = body(mark);
        format!("{body}.{}", self.mac(&body))
    }

    /// The mark of this text; none: it was not made here, or altered since.
    #[must_use]
    pub fn open(&self, text: &str) -> Option<Mark> {
        let (body, mac) = text.rsplit_once('.')?;
        let mut check = Hmac::<Sha256>::new_from_slice(self.0.as_slice()).ok()?;
        check.update(body.as_bytes());
        check.verify_truncated_left(&unhex(mac)?).ok()?;
        let mut parts = body.split('.');
        let (version, ladder, generation, person) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        if version != VERSION || parts.next().is_some() {
            return None;
        }
        let person = unescaped(person)?;
        Some(Mark {
            ladder: unescaped(ladder)?.into(),
            generation: generation.parse().ok()?,
            person: (!person.is_empty()).then(|| person.into()),
        })
    }

    fn mac(&self, body: &str) -> String {
        let mut mac = Hmac::<Sha256>::new_from_slice(self.0.as_slice()).expect("an HMAC takes a key of any length");
        mac.update(body.as_bytes());
        mac.finalize().into_bytes()[..MAC_BYTES].iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

/// What links of messages are made of.
#[derive(Clone, Debug)]
pub struct Links {
    /// Under which their marks are made.
    pub key: MarkKey,
    /// What they begin with, without a `/` at its end.
    pub public_url: String,
}

impl Links {
    /// Where anybody sees how it stands what this letter is about, and can do nothing: for what many people read.
    #[must_use]
    pub fn look(&self, letter: &Letter) -> String {
        let notice = &letter.notice;
        let mark = Mark { ladder: notice.ladder.clone(), generation: notice.generation, person: None };
        format!("{}/answer/{}", self.public_url, self.key.seal(&mark))
    }

    /// Where this person answers this letter; none: there is nothing to answer, no answer by a link counts, or nobody in particular
    /// has it.
    #[must_use]
    pub fn answer(&self, letter: &Letter) -> Option<String> {
        let notice = &letter.notice;
        if notice.question.as_ref().is_some_and(|asking| asking.not_via.iter().any(|way| way.as_str() == VIA)) {
            return None;
        }
        let person = letter.page.to.person().filter(|_| !notice.acts().is_empty())?;
        let mark = Mark { ladder: notice.ladder.clone(), generation: notice.generation, person: Some(person.clone()) };
        Some(format!("{}/answer/{}", self.public_url, self.key.seal(&mark)))
    }
}

impl Mark {
    /// The sum by which a link is known to have been used.
    #[must_use]
    pub fn sum(text: &str) -> Hash {
        Hash::of(text.as_bytes())
    }
}

fn body(mark: &Mark) -> String {
    let person = mark.person.as_ref().map(|name| escaped(name.as_str())).unwrap_or_default();
    format!("{VERSION}.{}.{}.{person}", escaped(mark.ladder.as_str()), mark.generation)
}

/// Letters, digits, `-` and `_` stand for themselves; `~` and two hex digits for any other byte.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' => out.push(char::from(byte)),
            byte => out.push_str(&format!("~{byte:02x}")),
        }
    }
    out
}

fn unescaped(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        if *first == b'~' {
            let (digits, after) = rest.split_at_checked(2)?;
            bytes.push(u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?);
            rest = after;
        } else {
            bytes.push(*first);
        }
    }
    String::from_utf8(bytes).ok()
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    // Small letters alone: a mark has one text, so that one that was used is known again.
    let is_hex = text.len() == MAC_BYTES * 2 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    let byte = |at: usize| u8::from_str_radix(text.get(at..at + 2)?, 16).ok();
    is_hex.then(|| (0..text.len()).step_by(2).map(byte).collect())?
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mark(ladder: &str, person: Option<&str>) -> Mark {
        Mark { ladder: ladder.into(), generation: 3, person: person.map(Name::from) }
    }

    #[test]
    fn a_mark_is_known_again_and_an_altered_one_is_none() {
        let key = MarkKey::new([7; 32]);
        for mark in [
            mark("i-0f1e2d3c4b5a", None),
            mark("r-0f1e2d3c4b5a/kill_it/approve", Some("ana")),
            mark("i-0", Some("Ünal.b~c/d")),
        ] {
            let text = key.seal(&mark);
            assert_eq!(key.open(&text).as_ref(), Some(&mark), "{text}");
            assert!(text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.~".contains(&b)), "{text}");
            assert_eq!(MarkKey::new([8; 32]).open(&text), None, "another key");
            for at in 0..text.len() {
                let mut other = text.clone().into_bytes();
                other[at] = if other[at] == b'0' { b'1' } else { b'0' };
                assert_eq!(key.open(&String::from_utf8(other).unwrap()), None, "{text} at {at}");
                let mut other = text.clone().into_bytes();
                other[at] ^= 0x20;
                let other = String::from_utf8(other).unwrap();
                assert!(key.open(&other).is_none(), "{other}: a letter in another case");
            }
            for cut in 0..text.len() {
                assert_eq!(key.open(&text[..cut]), None, "{}", &text[..cut]);
            }
        }
        assert_eq!(format!("{key:?}"), "***");
    }
}

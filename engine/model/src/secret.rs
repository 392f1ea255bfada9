//! Secrets: which one an input names, and its value, which nobody writes down.
//!
//! Owns both shapes. A [`SecretRef`] is all that plans, records and views ever hold. A [`Secret`] is read in the moment of
//! the act, goes to the verb in its [`ActionContext`](crate::ActionContext), and is gone with it. Keeps true: a value has no
//! written form; whoever needs it asks for it by [`Secret::expose`], which can be searched for.

use crate::Json;
use crate::action::ActionError;
use crate::ids::Name;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, OnceLock};

/// What stands where a value would.
const HIDDEN: &str = "***";

/// A value. Printed it is `***`.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Box<str>);

impl Secret {
    /// A secret of this value.
    pub fn new(value: impl Into<Box<str>>) -> Self {
        Self(value.into())
    }

    /// The value: for the call that needs it, never for a message, an error or an output.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(HIDDEN)
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(HIDDEN)
    }
}

/// Marks in a JSON Schema what is a secret.
pub const MARK: &str = "x-quell-secret";

/// Which secret an input names: the type by which an action declares such an input. The playbook has `${{ secrets.NAME }}`
/// there, and everything else is a mistake.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SecretRef {
    /// Its name in quell.yaml.
    pub secret: Name,
}

impl schemars::JsonSchema for SecretRef {
    fn schema_name() -> Cow<'static, str> {
        "Secret".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "type": "object",
            "description": "A secret of quell.yaml: `${{ secrets.NAME }}`.",
            "properties": { "secret": { "type": "string" } },
            "required": ["secret"],
            "additionalProperties": false,
            MARK: true,
        })
    }
}

/// The secrets that the input of an attempt names, and no others.
#[derive(Clone, Default, Debug)]
pub struct Secrets(Arc<Given>);

#[derive(Default)]
struct Given {
    values: BTreeMap<Name, Secret>,
    /// How the values are looked for, once they are.
    forms: OnceLock<Forms>,
}

impl fmt::Debug for Given {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.values.fmt(f)
    }
}

impl FromIterator<(Name, Secret)> for Secrets {
    fn from_iter<I: IntoIterator<Item = (Name, Secret)>>(all: I) -> Self {
        Self(Arc::new(Given { values: all.into_iter().collect(), forms: OnceLock::new() }))
    }
}

impl Secrets {
    /// The value that an input names.
    ///
    /// # Errors
    /// When it was not given: the input of the step did not name it.
    pub fn of(&self, which: &SecretRef) -> Result<&Secret, ActionError> {
        let missing = || ActionError::give_up(format!("the secret `{}` was not given", which.secret));
        self.0.values.get(&which.secret).ok_or_else(missing)
    }

    /// A text without any of the values: as they are, as they are printed in quotes, as they stand in an address, and, from
    /// six bytes on, in base64; each also without the whitespace at its ends.
    #[must_use]
    pub fn hide(&self, text: &str) -> String {
        self.forms().hide(text)
    }

    /// The same of a text that was cut at its end: what may be the begin of a value there is left out.
    #[must_use]
    pub fn hide_in_cut(&self, text: &str) -> String {
        let forms = self.forms();
        forms.hide(forms.without_begun(text))
    }

    /// The values, in the order of their names.
    pub fn values(&self) -> impl Iterator<Item = &Secret> {
        self.0.values.values()
    }

    fn forms(&self) -> &Forms {
        self.0.forms.get_or_init(|| Forms::of(self.0.values.values().map(Secret::expose)))
    }

    /// The same of whatever an action gave.
    #[must_use]
    pub fn hide_in(&self, json: Json) -> Json {
        if self.0.values.is_empty() {
            return json;
        }
        match json {
            Json::String(text) => Json::String(self.hide(&text)),
            Json::Array(list) => list.into_iter().map(|item| self.hide_in(item)).collect(),
            Json::Object(map) => map.into_iter().map(|(key, value)| (self.hide(&key), self.hide_in(value))).collect(),
            // A PIN comes back as a number.
            Json::Number(number) if self.0.values.values().any(|value| value.expose().trim() == number.to_string()) => {
                Json::from(HIDDEN)
            }
            plain @ (Json::Null | Json::Bool(_) | Json::Number(_)) => plain,
        }
    }

    /// The same of why it did not work.
    #[must_use]
    pub fn hide_error(&self, error: ActionError) -> ActionError {
        match error {
            ActionError::Retry { after, why } => ActionError::Retry { after, why: self.hide(&why) },
            ActionError::GiveUp { why, hint } => {
                ActionError::GiveUp { why: self.hide(&why), hint: hint.map(|hint| self.hide(&hint)) }
            }
            ActionError::Unknown { why } => ActionError::Unknown { why: self.hide(&why) },
        }
    }
}

/// What values look like in texts.
#[derive(Default)]
struct Forms {
    /// As a whole; the longest first, since one may be a part of another.
    plain: Vec<String>,
    /// In base64.
    encoded: Vec<Encoded>,
    /// Nothing shorter holds any.
    shortest: usize,
}

impl Forms {
    fn of<'v>(values: impl Iterator<Item = &'v str>) -> Self {
        let mut forms = Self::default();
        // A file ends its last line, and most that is sent of it has no such end.
        let both =
            |value: &'v str| std::iter::once(value).chain(Some(value.trim()).filter(|trimmed| *trimmed != value));
        for value in values.flat_map(both) {
            let json = Json::from(value).to_string();
            let json = &json[1..json.len() - 1];
            forms.plain.push(json.to_owned());
            // As PHP writes JSON.
            forms.plain.push(json.replace('/', "\\/"));
            forms.plain.push(value.escape_debug().to_string());
            forms.plain.push(in_an_address(value));
            forms.plain.push(value.to_owned());
            forms.encoded.extend(Encoded::all(value));
        }
        forms.plain.retain(|form| !form.is_empty());
        forms.plain.sort_by_key(|form| std::cmp::Reverse(form.len()));
        forms.plain.dedup();
        let plain = forms.plain.iter().map(String::len);
        forms.shortest = plain.chain(forms.encoded.iter().map(|one| one.core.len())).min().unwrap_or(usize::MAX);
        forms
    }

    fn hide(&self, text: &str) -> String {
        if text.len() < self.shortest {
            return text.to_owned();
        }
        let text = self.encoded.iter().fold(text.to_owned(), |text, one| one.hide(text));
        self.plain.iter().fold(text, |text, form| if text.contains(form) { text.replace(form, HIDDEN) } else { text })
    }

    /// What stands before the begins of values at the end of a text.
    fn without_begun<'t>(&self, text: &'t str) -> &'t str {
        // A letter of several bytes may have been cut as well.
        let mut kept = text.trim_end_matches(char::REPLACEMENT_CHARACTER);
        // What is left may end with the begin of another one.
        while let Some(begun) = self.begun(kept) {
            kept = &kept[..kept.len() - begun];
        }
        kept
    }

    /// The bytes of the longest begin of a value, and not the whole of one, that a text ends with.
    fn begun(&self, text: &str) -> Option<usize> {
        let cores = self.encoded.iter().map(|one| (one.core.as_str(), usize::from(one.before)));
        let all = self.plain.iter().map(|form| (form.as_str(), 0)).chain(cores);
        let of = |(form, before): (&str, usize)| {
            let begin = form.char_indices().map(|(end, _)| &form[..end]).rev().find(|begin| text.ends_with(begin))?;
            // The letter of base64 before it holds bits of it too.
            let beside = text[..text.len() - begin.len()].bytes().rev().take(before).filter(is_letter).count();
            (!begin.is_empty()).then_some(begin.len() + beside)
        };
        all.filter_map(of).max()
    }
}

/// A value of fewer bytes is not looked for in base64: its few letters there stand in other texts by chance.
const LEAST_ENCODED: usize = 6;

/// A value within a base64 text (RFC 4648, 4 and 5), behind so many bytes of a group of three.
struct Encoded {
    /// The letters that the value alone decides.
    core: String,
    /// A letter before them holds bits of it too.
    before: bool,
    /// And one after them.
    after: bool,
}

impl Encoded {
    /// Behind none, one and two bytes, in both alphabets.
    fn all(value: &str) -> Vec<Self> {
        const STANDARD: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        const URL_SAFE: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
        if value.len() < LEAST_ENCODED {
            return Vec::new();
        }
        let mut all: Vec<Self> = Vec::new();
        for (alphabet, offset) in
            [STANDARD, URL_SAFE].into_iter().flat_map(|alphabet| (0..3).map(move |n| (alphabet, n)))
        {
            let bits = |letter: usize| {
                let byte = |at: usize| {
                    at.checked_sub(offset).and_then(|at| value.as_bytes().get(at)).copied().map_or(0, u32::from)
                };
                let group = letter / 4 * 3;
                let bits = byte(group) << 16 | byte(group + 1) << 8 | byte(group + 2);
                (bits >> (18 - letter % 4 * 6) & 63) as usize
            };
            let (first, end) = ((offset * 8).div_ceil(6), (offset + value.len()) * 8 / 6);
            let core: String = (first..end).map(|letter| char::from(alphabet[bits(letter)])).collect();
            let (before, after) = (offset > 0, !(offset + value.len()).is_multiple_of(3));
            // Most values look the same in both alphabets.
            if all.iter().all(|known| known.core != core) {
                all.push(Self { core, before, after });
            }
        }
        all
    }

    /// With the letters beside it that hold some of its bits, and what fills it up.
    fn hide(&self, text: String) -> String {
        let mut rest = text.as_str();
        let mut out = String::new();
        while let Some(at) = rest.find(&self.core) {
            let bytes = rest.as_bytes();
            let (mut from, mut to) = (at, at + self.core.len());
            if self.before && from.checked_sub(1).is_some_and(|at| is_letter(&bytes[at])) {
                from -= 1;
            }
            if self.after && bytes.get(to).is_some_and(is_letter) {
                to += 1;
            }
            while bytes.get(to) == Some(&b'=') {
                to += 1;
            }
            out.push_str(&rest[..from]);
            out.push_str(HIDDEN);
            rest = &rest[to..];
        }
        if out.is_empty() {
            return text;
        }
        out + rest
    }
}

/// One of either alphabet of base64.
fn is_letter(byte: &u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'-' | b'_')
}

/// A value as clients write it into an address: what is not a letter, a digit or one of `-._~` as `%` and two hex digits
/// (RFC 3986).
fn in_an_address(value: &str) -> String {
    let one = |byte: u8| match byte {
        b'-' | b'.' | b'_' | b'~' => char::from(byte).to_string(),
        _ if byte.is_ascii_alphanumeric() => char::from(byte).to_string(),
        _ => format!("%{byte:02X}"),
    };
    value.bytes().map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn given() -> Secrets {
        let all = [("short", "tok"), ("long", "tok-en\"1"), ("other", "hunter2"), ("pin", "4711"), ("key", "a/b+c")];
        all.into_iter().map(|(name, value)| (Name::from(name), Secret::new(value))).collect()
    }

    #[test]
    fn a_value_has_no_written_form() {
        let secrets = given();
        let which = SecretRef { secret: "other".into() };
        let value = secrets.of(&which).unwrap();
        assert_eq!(value.expose(), "hunter2");
        for shown in [format!("{value}"), format!("{value:?}"), format!("{secrets:?}"), format!("{which:?}")] {
            assert!(!shown.contains("hunter2"), "{shown}");
        }
        let missing = secrets.of(&SecretRef { secret: "none".into() }).unwrap_err();
        assert_eq!(missing.to_string(), "the secret `none` was not given");
    }

    #[test]
    fn what_an_action_gives_is_freed_of_it() {
        let secrets = given();
        assert_eq!(secrets.hide("a tok-en\"1 b hunter2 tok"), "a *** b *** ***");
        assert_eq!(secrets.hide(&format!("{:?}", "tok-en\"1")), "\"***\"", "as it is printed for a log");
        assert_eq!(secrets.hide("GET /v1?key=a%2Fb%2Bc&n=1"), "GET /v1?key=***&n=1");
        let output = json!({ "echo": ["x hunter2"], "hunter2": 5, "n": null, "pin": 4711, "port": 47110 });
        let hidden = json!({ "echo": ["x ***"], "***": 5, "n": null, "pin": "***", "port": 47110 });
        assert_eq!(secrets.hide_in(output), hidden);
        let error = ActionError::GiveUp { why: "hunter2 is wrong".into(), hint: Some("not hunter2".into()) };
        assert_eq!(
            secrets.hide_error(error),
            ActionError::GiveUp { why: "*** is wrong".into(), hint: Some("not ***".into()) }
        );
        assert_eq!(secrets.hide(r"a\/b+c"), "***", "as PHP writes it");
        let plain = json!({ "a": "tok" });
        assert_eq!(Secrets::default().hide_in(plain.clone()), plain);
        assert_eq!(Secrets::default().hide("tok"), "tok");
    }

    #[test]
    fn it_is_hidden_without_the_whitespace_at_its_ends_too() {
        let all = [("a", " hunter2\n"), ("pin", "4711\n"), ("blank", " \n")];
        let secrets: Secrets = all.into_iter().map(|(name, value)| (name.into(), Secret::new(value))).collect();
        assert_eq!(secrets.hide("a hunter2, x hunter2\n"), "a ***, x***", "sent trimmed or as it is");
        assert_eq!(secrets.hide("Basic aHVudGVyMg=="), "Basic ***");
        assert_eq!(secrets.hide_in(json!({ "pin": 4711, "said": "hunter2" })), json!({ "pin": "***", "said": "***" }));
    }

    #[test]
    fn what_was_cut_tells_no_begin_of_it() {
        let all = [("a", "hunter2"), ("b", "2fast"), ("c", "grün-und-lang")];
        let secrets: Secrets = all.into_iter().map(|(name, value)| (name.into(), Secret::new(value))).collect();
        for (cut, told) in [
            ("x hunter2!", "x ***!"),
            ("x hunter", "x "),
            ("x h", "x "),
            // The end of one may be the begin of another.
            ("x hunter2fas", "x "),
            ("x hunter2", "x "),
            ("hunter2 y", "*** y"),
            ("x gr\u{fffd}", "x "),
            ("x Basic aHVudGV", "x Basic "),
            ("", ""),
        ] {
            assert_eq!(secrets.hide_in_cut(cut), told, "{cut}");
        }
        assert_eq!(Secrets::default().hide_in_cut("x hunter"), "x hunter");
    }

    #[test]
    fn it_is_hidden_in_base_64_wherever_it_stands_in_it() {
        // Alone, and behind and before others, in both alphabets, with what fills it up and without.
        let secrets: Secrets = [("a".into(), Secret::new("hunter2?>~secret"))].into_iter().collect();
        for (text, hidden) in [
            ("aHVudGVyMj8+fnNlY3JldA==", "***"),
            ("aHVudGVyMj8-fnNlY3JldA", "***"),
            ("dXNlcjpodW50ZXIyPz5+c2VjcmV0IQ==", "dXNlcj***IQ=="),
            ("eGh1bnRlcjI_Pn5zZWNyZXQ", "e***"),
            ("eHlodW50ZXIyPz5+c2VjcmV0IG1vcmU=", "eH***IG1vcmU="),
        ] {
            assert_eq!(secrets.hide(text), hidden, "{text}");
            assert_eq!(secrets.hide(&format!("Basic {text}, {text}")), format!("Basic {hidden}, {hidden}"), "{text}");
        }
        let short: Secrets = [("a".into(), Secret::new("tok"))].into_iter().collect();
        assert_eq!(short.hide("dG9r"), "dG9r", "a short one is looked for as it is only");
    }

    proptest::proptest! {
        #[test]
        fn no_bits_of_it_are_left_in_base_64(value in "[ -~]{6,40}", before in "[ -~]{0,7}", after in "[ -~]{0,7}", safe: bool) {
            let secrets: Secrets = [("a".into(), Secret::new(value.as_str()))].into_iter().collect();
            let text = encoded(format!("{before}{value}{after}").as_bytes(), safe);
            let told = secrets.hide(&text);
            // What is left stands before and after it, and is no longer than what was there.
            let (head, tail) = told.split_once(HIDDEN).expect("it is hidden");
            proptest::prop_assert!(text.starts_with(head) && head.len() * 6 <= before.len() * 8, "{} {}", text, told);
            let tail = tail.rsplit(HIDDEN).next().unwrap_or_default().trim_end_matches('=');
            proptest::prop_assert!(tail.len() * 6 <= after.len() * 8 + 4, "{} {}", text, told);
        }
    }

    /// As a client would write it: not the way in which it is looked for.
    fn encoded(bytes: &[u8], safe: bool) -> String {
        let letters: Vec<char> =
            ('A'..='Z').chain('a'..='z').chain('0'..='9').chain(if safe { ['-', '_'] } else { ['+', '/'] }).collect();
        let bits: String = bytes.iter().map(|byte| format!("{byte:08b}")).collect();
        let six = |bits: &[u8]| usize::from_str_radix(&format!("{:0<6}", String::from_utf8_lossy(bits)), 2).unwrap();
        let text: String = bits.as_bytes().chunks(6).map(|bits| letters[six(bits)]).collect();
        let fill = if safe { 0 } else { (4 - text.len() % 4) % 4 };
        text + &"=".repeat(fill)
    }
}

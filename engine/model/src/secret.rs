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
use std::sync::Arc;

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
pub struct Secrets(Arc<BTreeMap<Name, Secret>>);

impl FromIterator<(Name, Secret)> for Secrets {
    fn from_iter<I: IntoIterator<Item = (Name, Secret)>>(all: I) -> Self {
        Self(Arc::new(all.into_iter().collect()))
    }
}

impl Secrets {
    /// The value that an input names.
    ///
    /// # Errors
    /// When it was not given: the input of the step did not name it.
    pub fn of(&self, which: &SecretRef) -> Result<&Secret, ActionError> {
        let missing = || ActionError::give_up(format!("the secret `{}` was not given", which.secret));
        self.0.get(&which.secret).ok_or_else(missing)
    }

    /// A text without any of the values, as they are, as they are printed in quotes, and as they stand in an address.
    #[must_use]
    pub fn hide(&self, text: &str) -> String {
        let mut forms: Vec<Cow<'_, str>> = Vec::new();
        for value in self.0.values().map(Secret::expose) {
            let json = Json::from(value).to_string();
            forms.push(Cow::Owned(json[1..json.len() - 1].to_owned()));
            forms.push(Cow::Owned(value.escape_debug().to_string()));
            forms.push(Cow::Owned(in_an_address(value)));
            forms.push(Cow::Borrowed(value));
        }
        // One may be a part of another.
        forms.sort_by_key(|form| std::cmp::Reverse(form.len()));
        forms.iter().filter(|form| !form.is_empty()).fold(text.to_owned(), |text, form| text.replace(&**form, HIDDEN))
    }

    /// The same of whatever an action gave.
    #[must_use]
    pub fn hide_in(&self, json: Json) -> Json {
        if self.0.is_empty() {
            return json;
        }
        match json {
            Json::String(text) => Json::String(self.hide(&text)),
            Json::Array(list) => list.into_iter().map(|item| self.hide_in(item)).collect(),
            Json::Object(map) => map.into_iter().map(|(key, value)| (self.hide(&key), self.hide_in(value))).collect(),
            // A PIN comes back as a number.
            Json::Number(number) if self.0.values().any(|value| value.expose() == number.to_string()) => {
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
        let plain = json!({ "a": "tok" });
        assert_eq!(Secrets::default().hide_in(plain.clone()), plain);
    }
}

//! What Slack sends, read: a click on a button of a message, or a slash command.
//!
//! Owns the reading, whichever way it came (docs.slack.dev/reference/interaction-payloads, /interactivity/implementing-slash-commands).
//! Keeps true: of what Slack says of a person only the id is taken; what is none of quell's buttons is no click.

use quell_actions::notify::slack::act_of;
use quell_model::notice::Act;
use serde::Deserialize;
use std::collections::HashMap;

/// Something that somebody wants by Slack.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Errand {
    /// Their id in the workspace.
    pub(super) user: String,
    /// Where Slack takes what is to be told them; none: nowhere.
    pub(super) response_url: Option<String>,
    /// What.
    pub(super) what: What,
}

/// What somebody wants.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum What {
    /// The button of this act, with the mark that it carries.
    Click(Act, String),
    /// What was said after `/quell`.
    Command(String),
}

/// It is not of Slack's form.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("what Slack sent cannot be read: {0}")]
pub(super) struct Unreadable(String);

#[derive(Deserialize)]
struct Interaction {
    #[serde(rename = "type")]
    kind: String,
    user: Option<User>,
    response_url: Option<String>,
    #[serde(default)]
    actions: Vec<Action>,
}

#[derive(Deserialize)]
struct User {
    id: String,
}

#[derive(Deserialize)]
struct Action {
    action_id: Option<String>,
    value: Option<String>,
}

/// The parts of a body as forms have them; of one that is given twice, the first.
pub(super) fn form(body: &[u8]) -> HashMap<String, String> {
    let mut all = HashMap::new();
    for (key, value) in form_urlencoded::parse(body) {
        all.entry(key.into_owned()).or_insert_with(|| value.into_owned());
    }
    all
}

/// A click, as Slack tells it in JSON; none: it is none of quell's.
pub(super) fn click(payload: &str) -> Result<Option<Errand>, Unreadable> {
    let read: Interaction = serde_json::from_str(payload).map_err(|error| Unreadable(error.to_string()))?;
    if read.kind != "block_actions" {
        return Ok(None);
    }
    let Some(user) = read.user else { return Err(Unreadable("it says not who clicked".to_owned())) };
    let ours = read.actions.into_iter().find_map(|action| {
        let act = act_of(&action.action_id?)?;
        Some((act, action.value.unwrap_or_default()))
    });
    let errand = |(act, mark)| Errand { user: user.id, response_url: read.response_url, what: What::Click(act, mark) };
    Ok(ours.map(errand))
}

/// A slash command, by its parts.
pub(super) fn command(parts: impl Fn(&str) -> Option<String>) -> Result<Errand, Unreadable> {
    let user = parts("user_id").ok_or_else(|| Unreadable("it says not who asks".to_owned()))?;
    let text = parts("text").unwrap_or_default();
    Ok(Errand { user, response_url: parts("response_url"), what: What::Command(text) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// As Slack sends it, with what quell has no use for.
    fn block_actions(action_id: &str, value: Option<&str>) -> String {
        let action = json!({
            "action_id": action_id, "block_id": "b", "value": value, "type": "button", "action_ts": "1548426417.840180",
            "text": { "type": "plain_text", "text": "Acknowledge", "emoji": true },
        });
        json!({
            "type": "block_actions", "team": { "id": "T9TK3CUKW", "domain": "example" },
            "user": { "id": "U012", "username": "lead", "name": "lead", "team_id": "T9TK3CUKW" },
            "api_app_id": "AABA1ABCD", "token": "9s8d9as89d8as9d8as989",
            "container": { "type": "message", "message_ts": "1548261231.000200", "channel_id": "CBR2V3XEX" },
            "trigger_id": "12321423423.333649436676.d8c1bb837935619ccad0f624c448ffb3",
            "channel": { "id": "CBR2V3XEX", "name": "incidents" },
            "response_url": "https://hooks.slack.com/actions/AABA1ABCD/1232321423432/D09sSasdasdAS9091209",
            "actions": [action],
        })
        .to_string()
    }

    #[test]
    fn a_click_is_who_what_and_on_which_message() {
        let read = click(&block_actions("quell:acknowledge", Some("q1.i-1.3..ab"))).unwrap().unwrap();
        assert_eq!(read.user, "U012", "and nobody's name");
        assert_eq!(read.what, What::Click(Act::Acknowledge, "q1.i-1.3..ab".to_owned()));
        assert!(read.response_url.unwrap().starts_with("https://hooks.slack.com/actions/"));
        let choice = click(&block_actions("quell:choose:approve", Some("m"))).unwrap().unwrap();
        assert_eq!(choice.what, What::Click(Act::Choose("approve".into()), "m".to_owned()));
    }

    #[test]
    fn what_is_no_button_of_quells_is_no_click() {
        for id in ["acknowledge", "quell:", "quell:choose:", "quell:nothing", "other:acknowledge", ""] {
            assert_eq!(click(&block_actions(id, Some("m"))), Ok(None), "{id}");
        }
        assert_eq!(click(&json!({ "type": "view_submission", "user": { "id": "U1" } }).to_string()), Ok(None));
        for broken in ["", "[]", "{}", "{\"type\":\"block_actions\",\"actions\":[]}", "{\"type\":"] {
            assert!(click(broken).is_err(), "{broken}");
        }
    }

    #[test]
    fn a_command_is_who_and_what_they_say() {
        let body = b"token=x&team_id=T1&user_id=U012&user_name=ana&command=%2Fquell&text=ack+i-1%26&\
            response_url=https%3A%2F%2Fhooks.slack.com%2Fcommands%2F1&user_id=U999";
        let form = form(body);
        let read = command(|key| form.get(key).cloned()).unwrap();
        assert_eq!((read.user.as_str(), read.what), ("U012", What::Command("ack i-1&".to_owned())));
        assert_eq!(read.response_url.as_deref(), Some("https://hooks.slack.com/commands/1"));
        assert!(command(|_| None).is_err());
    }
}

//! `email.send`: a mail to people of escalation.yaml, or to addresses.
//!
//! Keeps true: a mail that is sent again has the Message-ID that it had; nothing in its subject or its text is a header, and none of
//! its text is markup; whom it goes to stands in the plan.

use super::text::{self, one};
use super::ways::{self, InForce, Mail, Ways};
use super::{failed, no_undo, order, to_json, wrong};
use crate::process::input;
use crate::text::one_line;
use quell_model::{
    Action, ActionContext, ActionError, ActionSpec, Admitted, Guarantee, Json, Lane, Name, Plan, Truth, Want,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::sync::Arc;

/// What it is.
pub static SPEC: ActionSpec = ActionSpec {
    name: "email.send",
    summary: "sends a mail to people of escalation.yaml, or to addresses",
    input: || schemars::schema_for!(Input),
    output: || schemars::schema_for!(Output),
    lane: Lane::Notify,
    guarantee: Guarantee::AtLeastOnceWithKey,
    undoable: false,
    asks_by_default: false,
    targets: &[],
    permissions: &[],
    predict: |_| json!({ "message_id": "", "said": "" }),
};

/// People of one mail: more are a list of the mail server's.
const MOST_PEOPLE: usize = 50;
/// Of a text, in characters.
const LONGEST: usize = 20_000;

/// Whom, and what.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Input {
    /// Names of people of escalation.yaml, or addresses; 1 to 50. All of them see each other. Whom the mail server refuses keeps the
    /// mail from nobody else, and fails the step.
    #[schemars(extend("x-quell-way" = "email"))]
    pub to: Vec<String>,
    /// One line.
    pub subject: String,
    /// Plain text of several lines.
    pub text: String,
}

/// What was handed over.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Output {
    /// By which mail programs know it; empty where it is only planned.
    pub message_id: String,
    /// What the server said when it took it.
    pub said: String,
}

/// What was decided when it was planned.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Order {
    call: String,
    /// Addresses; names of those who had none.
    to: Vec<String>,
    subject: String,
    text: String,
}

/// The verb.
pub(crate) struct EmailSend(pub(crate) Arc<Ways>);

/// `ana@example.org`, and nothing beside it.
fn is_address(text: &str) -> bool {
    let is_part = |c: char| !c.is_whitespace() && !c.is_control() && !"<>()[],;:\\\"@".contains(c);
    text.len() <= 254
        && text.split_once('@').is_some_and(|(name, host)| {
            !name.is_empty() && !host.is_empty() && name.chars().all(is_part) && host.chars().all(is_part)
        })
}

/// Where this one reads mail; else why nowhere.
fn address(who: &str, ways: &InForce) -> Result<String, String> {
    if who.contains('@') {
        return Ok(who.to_owned());
    }
    match ways.people.get(&Name::from(who)) {
        Some(Some(address)) => Ok(address.clone()),
        Some(None) => Err(format!("`{who}` has no address of mail; hint: `email` of `people` in escalation.yaml")),
        None => Err(format!("there is no person `{who}` in escalation.yaml; hint: one of its `people`, or an address")),
    }
}

fn checked(given: &Input) -> Result<(), ActionError> {
    if given.to.is_empty() || given.to.len() > MOST_PEOPLE {
        return Err(wrong(format!("`to` has {} people", given.to.len()), "1 to 50"));
    }
    let bad = given.to.iter().find(|who| who.is_empty() || who.contains('@') && !is_address(who));
    if let Some(bad) = bad {
        let why = format!("`{}` is no address", one_line(bad, 100));
        return Err(wrong(why, "an address like `ana@example.org`, or the name of a person of escalation.yaml"));
    }
    match given.subject.trim().is_empty() || given.text.trim().is_empty() {
        true => Err(wrong("`subject` or `text` is empty", "something to read")),
        false => Ok(()),
    }
}

#[async_trait::async_trait]
impl Action for EmailSend {
    fn spec(&self) -> &'static ActionSpec {
        &SPEC
    }

    async fn plan(&self, json: &Json) -> Result<Plan, ActionError> {
        let given: Input = input(json)?;
        checked(&given)?;
        let ways = self.0.now();
        let mut would_fail = Vec::new();
        if let Err(not) = ways.email.ready(&ways::EMAIL) {
            would_fail.push(not.planned()?);
        }
        let mut to: Vec<String> = Vec::new();
        for who in &given.to {
            let found = address(who, &ways).unwrap_or_else(|why| {
                would_fail.push(why);
                one_line(who, 100)
            });
            if !to.contains(&found) {
                to.push(found);
            }
        }
        let order = Order {
            call: SPEC.name.to_owned(),
            to,
            subject: one_line(&given.subject, text::TITLE),
            text: text::lines(&given.text, LONGEST, one),
        };
        let predicted = (SPEC.predict)(json);
        Ok(Plan { calls: vec![to_json(&order)], predicted, would_fail, ..Plan::default() })
    }

    async fn run(&self, go: &Admitted, cx: &ActionContext) -> Result<Json, ActionError> {
        let Order { to, subject, text, .. } = order(go.plan())?;
        let ways = self.0.now();
        let server = ways.email.ready(&ways::EMAIL)?;
        if let Some(who) = to.iter().find(|who| !is_address(who)) {
            return Err(wrong(
                format!("nobody knows where `{who}` reads mail"),
                "`email` of `people` in escalation.yaml",
            ));
        }
        let mail = Mail { key: cx.key.0.clone(), to, subject, text };
        let (message_id, said) = server.mail(&mail).await.map_err(failed)?;
        Ok(to_json(&Output { message_id, said }))
    }

    async fn verify(&self, _: &Plan, _: Want) -> Result<Truth, ActionError> {
        Ok(Truth::CannotAsk)
    }

    async fn undo(&self, _: &Admitted, _: &ActionContext) -> Result<Json, ActionError> {
        Err(no_undo())
    }
}

#[cfg(test)]
mod tests {
    use super::super::ways::{Mails, Way};
    use super::*;
    use crate::testing::Act;
    use quell_model::notice::SendError;
    use std::sync::Mutex;

    #[derive(Default)]
    struct Keeps(Mutex<Vec<Mail>>);

    #[async_trait::async_trait]
    impl Mails for Keeps {
        async fn mail(&self, mail: &Mail) -> Result<(String, String), SendError> {
            self.0.lock().unwrap().push(mail.clone());
            Ok((format!("<{}@x>", mail.key), "250 OK".to_owned()))
        }
    }

    fn server() -> (Arc<Keeps>, EmailSend) {
        let (keeps, ways) = (Arc::new(Keeps::default()), Arc::new(Ways::default()));
        let people = [("ana", Some("ana@example.org")), ("bo", None)];
        let people = people.map(|(name, address)| (Name::from(name), address.map(str::to_owned)));
        let email: Arc<dyn Mails> = keeps.clone();
        ways.replace(Arc::new(InForce { email: Way::Ready(email), people: people.into(), ..InForce::default() }));
        (keeps, EmailSend(ways))
    }

    #[tokio::test]
    async fn it_goes_to_whom_the_plan_names_under_the_key_of_the_step() {
        let (keeps, send) = server();
        let input = json!({ "to": ["ana", "soc@example.org", "ana@example.org"], "subject": "a\r\nBcc: x@y", "text": "one\ntwo" });
        let (plan, output, truth) = Act::new().whole(&send, input).await;
        let call = json!({
            "call": "email.send", "to": ["ana@example.org", "soc@example.org"], "subject": "a\\r\\nBcc: x@y", "text": "one\ntwo",
        });
        assert_eq!((&plan.calls[..], &plan.would_fail[..], truth), (&[call][..], &[][..], Truth::CannotAsk));
        assert_eq!(output, json!({ "message_id": "<test@x>", "said": "250 OK" }));
        assert_eq!(keeps.0.lock().unwrap()[0].key, "test");
    }

    #[tokio::test]
    async fn what_is_no_mail_is_refused_and_who_has_no_address_is_told_in_the_plan() {
        let (keeps, send) = server();
        let mail = |to: &[&str]| json!({ "to": to, "subject": "s", "text": "t" });
        for (bad, why) in [
            (mail(&[]), "`to` has 0 people"),
            (mail(&["a@b, c@d"]), "is no address"),
            (mail(&["a@b\r\nBcc: c@d"]), "is no address"),
            (mail(&["<a@b>"]), "is no address"),
            (mail(&["a@"]), "is no address"),
            (json!({ "to": ["ana"], "subject": " ", "text": "t" }), "is empty"),
        ] {
            let error = send.plan(&bad).await.unwrap_err().to_string();
            assert!(error.contains(why), "{bad}: {error}");
        }
        let plan = send.plan(&mail(&["bo", "eve"])).await.unwrap();
        assert!(plan.would_fail[0].contains("`bo` has no address") && plan.would_fail[1].contains("no person `eve`"));
        let act = Act::new();
        let go = act.admitted(&send, plan);
        assert!(matches!(send.run(&go, &act.context()).await, Err(ActionError::GiveUp { .. })));
        assert!(keeps.0.lock().unwrap().is_empty());
    }
}

//! The verbs that send: slack.post, slack.update, email.send, webhook.post, http.request; a file each, in the order input, output,
//! plan, run, verify, tests.
//!
//! Beside them the nouns they share: `ways` holds what is configured, `text` makes what others wrote harmless. Known in every build;
//! what a build has no hands for gives up and says which feature it lacks. None of them contains anything: their plans have no
//! targets, and nothing that was said can be taken back.
//!
//! ```text
//! input ──plan──▶ the very text and address, with secrets as their names ──guard──▶ run ──ways──▶ Slack, SMTP, HTTP
//! ```

pub mod email_send;
pub mod http_request;
pub mod slack_post;
pub mod slack_update;
pub(crate) mod text;
pub mod ways;
pub mod webhook_post;

use quell_model::notice::SendError;
use quell_model::world::Verb;
use quell_model::{ActionError, ActionSpec, Json, Plan};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::sync::Arc;
use ways::Ways;

/// What the verbs of this folder are, hands or not.
#[must_use]
pub fn specs() -> Vec<&'static ActionSpec> {
    vec![&email_send::SPEC, &http_request::SPEC, &slack_post::SPEC, &slack_update::SPEC, &webhook_post::SPEC]
}

/// The verbs of this folder, which send by these ways.
#[must_use]
pub fn crew(ways: &Arc<Ways>) -> Vec<Verb> {
    vec![
        Verb::Acts(Arc::new(email_send::EmailSend(Arc::clone(ways)))),
        Verb::Acts(Arc::new(http_request::HttpRequest(Arc::clone(ways)))),
        Verb::Acts(Arc::new(slack_post::SlackPost(Arc::clone(ways)))),
        Verb::Acts(Arc::new(slack_update::SlackUpdate(Arc::clone(ways)))),
        Verb::Acts(Arc::new(webhook_post::WebhookPost(Arc::clone(ways)))),
    ]
}

/// What was decided when it was planned: the plan's first call.
fn order<T: DeserializeOwned>(plan: &Plan) -> Result<T, ActionError> {
    let first = plan.calls.first().ok_or_else(|| ActionError::give_up("the plan has no calls"))?;
    T::deserialize(first).map_err(|error| ActionError::give_up(format!("the plan cannot be read: {error}")))
}

/// Of shapes that have string keys only.
fn to_json(shape: &impl Serialize) -> Json {
    serde_json::to_value(shape).expect("string keys only")
}

/// A message that did not go, as an attempt that did not work.
fn failed(error: SendError) -> ActionError {
    match error {
        SendError::Later { why, after } => ActionError::Retry { after, why },
        SendError::Unknown { why } => ActionError::Unknown { why },
        SendError::Never { why } => match why.split_once("; hint: ") {
            Some((why, hint)) => ActionError::GiveUp { why: why.to_owned(), hint: Some(hint.to_owned()) },
            None => ActionError::give_up(why),
        },
    }
}

/// What cannot be done as it is written.
fn wrong(why: impl Into<String>, hint: &str) -> ActionError {
    ActionError::GiveUp { why: why.into(), hint: Some(hint.to_owned()) }
}

/// Nobody can unsay it.
fn no_undo() -> ActionError {
    ActionError::give_up("what was sent stays sent")
}

#[cfg(test)]
mod tests {
    use super::*;
    use quell_model::{Lane, Want};

    #[test]
    fn every_spec_has_hands_and_predicts_what_its_schema_promises() {
        let with_hands: Vec<_> = crew(&Arc::default()).iter().map(|verb| verb.spec().name).collect();
        let known: Vec<_> = specs().iter().map(|spec| spec.name).collect();
        assert_eq!(with_hands, known);
        for spec in specs() {
            let output = (spec.output)();
            let properties = output.get("properties").and_then(Json::as_object).expect("an object");
            let predicted = (spec.predict)(&Json::Null);
            let names: Vec<&String> = predicted.as_object().unwrap().keys().collect();
            assert!(names.iter().all(|name| properties.contains_key(*name)), "{}: {names:?}", spec.name);
            assert_eq!(
                (spec.lane, spec.undoable, spec.targets),
                (Lane::Notify, false, &[] as &[&str]),
                "{}",
                spec.name
            );
        }
    }

    #[tokio::test]
    async fn what_was_sent_cannot_be_asked_after_nor_taken_back() {
        let act = crate::testing::Act::new();
        for verb in crew(&Arc::default()) {
            let Verb::Acts(verb) = verb else { panic!("{} only reads", verb.spec().name) };
            assert_eq!(verb.verify(&Plan::default(), Want::Acted).await, Ok(quell_model::Truth::CannotAsk));
            let go = act.admitted(&*verb, Plan::default());
            assert!(verb.undo(&go, &act.context()).await.is_err(), "{}", verb.spec().name);
        }
    }
}

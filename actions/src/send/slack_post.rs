//! `slack.post`: says something in a channel of Slack, or in the thread of a message.
//!
//! Keeps true: the text is plain there, so that nothing in it calls anybody or is a link; what may have been said is never said again,
//! for Slack has no key by which it would know it.

use super::text::{self, in_slack};
use super::ways::{self, Ways};
use super::{failed, no_undo, order, to_json, wrong};
use crate::process::input;
use quell_model::{Action, ActionContext, ActionError, ActionSpec, Admitted, Guarantee, Json, Lane, Plan, Truth, Want};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::sync::Arc;

/// What it is.
pub static SPEC: ActionSpec = ActionSpec {
    name: "slack.post",
    summary: "says something in a channel of Slack, or in the thread of a message",
    input: || schemars::schema_for!(Input),
    output: || schemars::schema_for!(Output),
    lane: Lane::Notify,
    guarantee: Guarantee::AtMostOnce,
    undoable: false,
    asks_by_default: false,
    targets: &[],
    permissions: &[],
    predict: |input| to_json(&predicted(input["channel"].as_str())),
};

/// The moment of a message that was never said.
pub(super) const NEVER: &str = "0.000000";

/// What is said, and where.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Input {
    /// Plain text of several lines; no markup of Slack means anything in it.
    pub text: String,
    /// `#name` or a channel's id; the `channel` of `channels.slack` if absent.
    #[serde(default)]
    #[schemars(extend("x-quell-way" = "slack"))]
    pub channel: Option<String>,
    /// The `ts` of the message in whose thread it is said. Its `channel` is given too.
    #[serde(default)]
    pub thread: Option<String>,
}

/// The message.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Output {
    /// The id of its channel; where it is only planned, the channel as it was given.
    pub channel: String,
    /// Its moment, by which Slack knows it; `0.000000` where it is only planned.
    pub ts: String,
}

/// What was decided when it was planned.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Order {
    call: String,
    /// None: nobody has said which.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    channel: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    thread: Option<String>,
    text: String,
}

/// The verb.
pub(crate) struct SlackPost(pub(crate) Arc<Ways>);

fn predicted(channel: Option<&str>) -> Output {
    Output { channel: channel.unwrap_or_default().to_owned(), ts: NEVER.to_owned() }
}

/// What is said there, which has to be something.
pub(super) fn said(text: &str) -> Result<String, ActionError> {
    match text::lines(text, text::SLACK, in_slack) {
        text if text.is_empty() => Err(wrong("`text` is empty", "something to say")),
        text => Ok(text),
    }
}

/// `#name`, or an id of capital letters and digits.
pub(super) fn is_channel(text: &str) -> bool {
    let is_letter = |c: char| c.is_alphanumeric() || matches!(c, '-' | '_' | '.');
    let is_name = text.strip_prefix('#').is_some_and(|name| !name.is_empty() && name.chars().all(is_letter));
    let is_id = text.len() >= 9 && text.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit());
    text.len() <= 100 && (is_name || is_id)
}

/// `1503435956.000247`.
pub(super) fn is_moment(text: &str) -> bool {
    let is_digits = |part: &str| !part.is_empty() && part.len() <= 20 && part.bytes().all(|b| b.is_ascii_digit());
    text.split_once('.').is_some_and(|(seconds, number)| is_digits(seconds) && is_digits(number))
}

/// A mistake in what says where a message stands, if there is one.
pub(super) fn misplaced(channel: Option<&str>, ts: Option<(&str, &str)>) -> Option<ActionError> {
    if let Some(channel) = channel.filter(|channel| !is_channel(channel)) {
        let why = format!("`{}` is no channel of Slack", crate::text::one_line(channel, 100));
        return Some(wrong(why, "its name, like `\"#incidents\"`, or its id, like `C0123456789`"));
    }
    let (key, ts) = ts.filter(|(_, ts)| !is_moment(ts))?;
    let why = format!("`{key}` is `{}`, which is no message of Slack", crate::text::one_line(ts, 100));
    Some(wrong(why, "the `ts` that `slack.post` gave, like `1503435956.000247`"))
}

#[async_trait::async_trait]
impl Action for SlackPost {
    fn spec(&self) -> &'static ActionSpec {
        &SPEC
    }

    async fn plan(&self, json: &Json) -> Result<Plan, ActionError> {
        let given: Input = input(json)?;
        let thread = given.thread.as_deref();
        if let Some(error) = misplaced(given.channel.as_deref(), thread.map(|ts| ("thread", ts))) {
            return Err(error);
        }
        if thread.is_some() && given.channel.is_none() {
            return Err(wrong("`thread` without `channel`", "the `channel` that `slack.post` gave beside that `ts`"));
        }
        let text = said(&given.text)?;
        let (mut channel, mut would_fail) = (given.channel, Vec::new());
        match self.0.now().slack.ready(&ways::SLACK) {
            Ok(chat) => channel = channel.or_else(|| Some(chat.channel.clone())),
            Err(not) => would_fail.push(not.planned()?),
        }
        let predicted = to_json(&predicted(channel.as_deref()));
        let order = Order { call: SPEC.name.to_owned(), channel, thread: given.thread, text };
        Ok(Plan { calls: vec![to_json(&order)], predicted, would_fail, ..Plan::default() })
    }

    async fn run(&self, go: &Admitted, _: &ActionContext) -> Result<Json, ActionError> {
        let order: Order = order(go.plan())?;
        let ways = self.0.now();
        let chat = ways.slack.ready(&ways::SLACK)?;
        // What was approved names a place.
        let hint = "a new run plans it where `channels.slack` in escalation.yaml says now";
        let channel =
            order.channel.ok_or_else(|| wrong("the plan names no channel: Slack was not there then", hint))?;
        let said = chat.speaks.say(&channel, order.thread.as_deref(), &order.text).await.map_err(failed)?;
        Ok(json!({ "channel": said.channel, "ts": said.ts }))
    }

    async fn verify(&self, _: &Plan, _: Want) -> Result<Truth, ActionError> {
        Ok(Truth::CannotAsk)
    }

    async fn undo(&self, _: &Admitted, _: &ActionContext) -> Result<Json, ActionError> {
        Err(no_undo())
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::ways::{Chat, Chats, InForce, Said, Way};
    use super::*;
    use crate::testing::Act;
    use quell_model::notice::SendError;
    use std::sync::Mutex;

    /// A workspace that keeps what was said, and answers with this.
    #[derive(Default)]
    pub(in crate::send) struct Keeps {
        pub(in crate::send) said: Mutex<Vec<String>>,
        pub(in crate::send) answers: Mutex<Vec<SendError>>,
    }

    #[async_trait::async_trait]
    impl Chats for Keeps {
        async fn say(&self, channel: &str, thread: Option<&str>, text: &str) -> Result<Said, SendError> {
            self.said.lock().unwrap().push(format!("{channel} {} {text}", thread.unwrap_or("-")));
            let fails = self.answers.lock().unwrap().pop();
            fails.map_or(Ok(Said { channel: "C0INCIDENT".into(), ts: "1.000001".into() }), Err)
        }

        async fn put_right(&self, there: &Said, text: &str) -> Result<Said, SendError> {
            self.said.lock().unwrap().push(format!("{}/{} {text}", there.channel, there.ts));
            let fails = self.answers.lock().unwrap().pop();
            fails.map_or(Ok(there.clone()), Err)
        }
    }

    pub(in crate::send) fn workspace() -> (Arc<Keeps>, Arc<Ways>) {
        let (keeps, ways) = (Arc::new(Keeps::default()), Arc::new(Ways::default()));
        let chat = Chat { channel: "#incidents".to_owned(), speaks: keeps.clone() };
        ways.replace(Arc::new(InForce { slack: Way::Ready(chat), ..InForce::default() }));
        (keeps, ways)
    }

    #[tokio::test]
    async fn it_is_said_where_the_plan_says_and_as_the_plan_says() {
        let (keeps, ways) = workspace();
        let post = SlackPost(ways);
        let act = Act::new();
        let (plan, output, truth) = act.whole(&post, json!({ "text": "two\nlines <!channel>\u{202e}" })).await;
        let text = "two\nlines <!channel>\\u{202e}";
        assert_eq!(plan.calls, [json!({ "call": "slack.post", "channel": "#incidents", "text": text })]);
        assert_eq!(plan.predicted, json!({ "channel": "#incidents", "ts": NEVER }));
        assert_eq!((output, truth), (json!({ "channel": "C0INCIDENT", "ts": "1.000001" }), Truth::CannotAsk));
        let thread = json!({ "text": "more", "channel": "C0INCIDENT", "thread": "1.000001" });
        act.whole(&post, thread).await;
        assert_eq!(*keeps.said.lock().unwrap(), [format!("#incidents - {text}"), "C0INCIDENT 1.000001 more".into()]);
    }

    #[tokio::test]
    async fn what_is_no_message_is_refused_before_anything_is_said() {
        let (keeps, ways) = workspace();
        let post = SlackPost(ways);
        for (bad, why) in [
            (json!({ "text": " \n" }), "`text` is empty"),
            (json!({ "text": "x", "channel": "incidents" }), "`incidents` is no channel"),
            (json!({ "text": "x", "channel": "#a b" }), "`#a b` is no channel"),
            (json!({ "text": "x", "thread": "1.000001" }), "`thread` without `channel`"),
            (json!({ "text": "x", "channel": "#a", "thread": "now" }), "`thread` is `now`"),
            (json!({ "text": "x", "colour": "red" }), "colour"),
        ] {
            let error = post.plan(&bad).await.unwrap_err().to_string();
            assert!(error.contains(why), "{bad}: {error}");
        }
        assert!(keeps.said.lock().unwrap().is_empty());
    }

    #[tokio::test]
    async fn what_slack_says_is_what_becomes_of_the_attempt() {
        let (keeps, ways) = workspace();
        let (post, act) = (SlackPost(ways), Act::new());
        let go = act.admitted(&post, post.plan(&json!({ "text": "x" })).await.unwrap());
        for (said, becomes) in [
            (SendError::Later { why: "busy".into(), after: None }, ActionError::retry("busy")),
            (SendError::Unknown { why: "it broke".into() }, ActionError::Unknown { why: "it broke".into() }),
            (SendError::Never { why: "no; hint: invite it".into() }, wrong("no", "invite it")),
            (SendError::Never { why: "no".into() }, ActionError::give_up("no")),
        ] {
            keeps.answers.lock().unwrap().push(said);
            assert_eq!(post.run(&go, &act.context()).await, Err(becomes));
        }
    }

    #[tokio::test]
    async fn without_slack_the_plan_says_so_and_the_act_gives_up() {
        let (post, act) = (SlackPost(Arc::default()), Act::new());
        let planned = post.plan(&json!({ "text": "x" })).await;
        if !cfg!(feature = "slack") {
            assert!(
                matches!(planned, Err(ActionError::GiveUp { hint: Some(hint), .. }) if hint.contains("feature `slack`"))
            );
            return;
        }
        let plan = planned.unwrap();
        assert_eq!(plan.would_fail, ["Slack is not configured; hint: `channels.slack` in escalation.yaml"]);
        let go = act.admitted(&post, plan);
        assert!(matches!(post.run(&go, &act.context()).await, Err(ActionError::GiveUp { hint: Some(_), .. })));
        // It is there now; nobody said yes to the channel that it has.
        let (keeps, ways) = workspace();
        let error = SlackPost(ways).run(&go, &act.context()).await.unwrap_err();
        assert!(error.to_string().contains("the plan names no channel"), "{error}");
        assert!(keeps.said.lock().unwrap().is_empty());
    }
}

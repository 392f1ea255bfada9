//! `webhook.post`: tells a webhook of escalation.yaml something.
//!
//! Keeps true: it goes where the file says and the plan has said, signed or with the secret that the file names; what is sent again has
//! the key that it had, and by a template without keys what may have been taken is not sent again.

use super::text::{self, one};
use super::ways::{self, Hooks, InForce, Message, NotReady, Way, Ways};
use super::{failed, no_undo, order, to_json, wrong};
use crate::process::input;
use crate::text::one_line;
use quell_model::{
    Action, ActionContext, ActionError, ActionSpec, Admitted, Guarantee, Json, Lane, Level, Name, Plan, Truth, Want,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::sync::Arc;

/// What it is.
pub static SPEC: ActionSpec = ActionSpec {
    name: "webhook.post",
    summary: "tells a webhook of escalation.yaml something",
    input: || schemars::schema_for!(Input),
    output: || schemars::schema_for!(Output),
    lane: Lane::Notify,
    guarantee: Guarantee::AtLeastOnceWithKey,
    undoable: false,
    asks_by_default: false,
    targets: &[],
    permissions: &[],
    predict: |_| json!({ "status": 200 }),
};

/// Of a text, in characters.
const LONGEST: usize = 8_000;
/// Of `data` as JSON, in bytes.
const MOST_DATA: usize = 32 << 10;

/// Which, and what.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Input {
    /// The name of one of `channels.webhooks` in escalation.yaml.
    #[schemars(extend("x-quell-way" = "webhook"))]
    pub webhook: Name,
    /// One line.
    pub title: String,
    /// Plain text of several lines.
    pub text: String,
    /// How bad it is.
    #[serde(default = "high")]
    pub level: Level,
    /// More, for programs: a map, up to 32 KiB as JSON.
    #[serde(default)]
    pub data: serde_json::Map<String, Json>,
}

/// What was answered.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Output {
    /// The status of HTTP; 200 where it is only planned.
    pub status: u16,
}

/// What was decided when it was planned.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Order {
    call: String,
    webhook: Name,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    template: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    host: Option<String>,
    title: String,
    text: String,
    level: Level,
    #[serde(default, skip_serializing_if = "serde_json::Map::is_empty")]
    data: serde_json::Map<String, Json>,
}

/// The verb.
pub(crate) struct WebhookPost(pub(crate) Arc<Ways>);

fn high() -> Level {
    Level::High
}

fn hook<'w>(ways: &'w InForce, name: &Name) -> Result<&'w Arc<dyn Hooks>, NotReady> {
    ways.webhooks.get(name).unwrap_or(&Way::Missing).ready(&ways::WEBHOOK)
}

#[async_trait::async_trait]
impl Action for WebhookPost {
    fn spec(&self) -> &'static ActionSpec {
        &SPEC
    }

    async fn plan(&self, json: &Json) -> Result<Plan, ActionError> {
        let given: Input = input(json)?;
        let size = to_json(&given.data).to_string().len();
        if size > MOST_DATA {
            return Err(wrong(format!("`data` has {size} bytes as JSON"), "up to 32 KiB"));
        }
        if given.title.trim().is_empty() {
            return Err(wrong("`title` is empty", "a line that says what it is about"));
        }
        let ways = self.0.now();
        let (mut shown, mut would_fail) = (None, Vec::new());
        match hook(&ways, &given.webhook) {
            Ok(hook) => shown = Some((hook.template().to_owned(), hook.host())),
            Err(not) => would_fail.push(format!("`{}`: {}", given.webhook, not.planned()?)),
        }
        let (template, host) = shown.unzip();
        let order = Order {
            call: SPEC.name.to_owned(),
            webhook: given.webhook,
            template,
            host,
            title: one_line(&given.title, text::TITLE),
            text: text::lines(&given.text, LONGEST, one),
            level: given.level,
            data: given.data,
        };
        let predicted = (SPEC.predict)(json);
        Ok(Plan { calls: vec![to_json(&order)], predicted, would_fail, ..Plan::default() })
    }

    async fn run(&self, go: &Admitted, cx: &ActionContext) -> Result<Json, ActionError> {
        let Order { webhook, template, host, title, text, level, data, .. } = order(go.plan())?;
        let ways = self.0.now();
        let hook = hook(&ways, &webhook)?;
        let now = (Some(hook.template().to_owned()), Some(hook.host()));
        if (&template, &host) != (&now.0, &now.1) {
            let shown = |(template, host): &(Option<String>, Option<String>)| match template.as_ref().zip(host.as_ref())
            {
                Some((template, host)) => format!("`{template}` at {host}"),
                None => "not there".to_owned(),
            };
            let why = format!("`{webhook}` is {} now, and was {} in the plan", shown(&now), shown(&(template, host)));
            return Err(wrong(why, "a new run plans it as escalation.yaml has it now"));
        }
        let message = Message { key: cx.key.0.clone(), title, text, level, data, is_repeat: cx.taken_up };
        let status = hook.tell(&message).await.map_err(failed)?;
        Ok(to_json(&Output { status }))
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
    use super::*;
    use crate::testing::Act;
    use quell_model::notice::SendError;
    use std::sync::Mutex;

    #[derive(Default)]
    struct Keeps(Mutex<Vec<Message>>, String);

    #[async_trait::async_trait]
    impl Hooks for Keeps {
        fn template(&self) -> &'static str {
            "json"
        }

        fn host(&self) -> String {
            format!("robot{}.example.org", self.1)
        }

        async fn tell(&self, message: &Message) -> Result<u16, SendError> {
            self.0.lock().unwrap().push(message.clone());
            Ok(204)
        }
    }

    fn hooks() -> (Arc<Keeps>, WebhookPost) {
        let (keeps, ways) = (Arc::new(Keeps::default()), Arc::new(Ways::default()));
        let robot: Arc<dyn Hooks> = keeps.clone();
        let off = Way::Off("`secret` cannot be read".to_owned());
        let webhooks = [("robot".into(), Way::Ready(robot)), ("deaf".into(), off)].into();
        ways.replace(Arc::new(InForce { webhooks, ..InForce::default() }));
        (keeps, WebhookPost(ways))
    }

    #[tokio::test]
    async fn it_is_told_what_the_plan_says_under_the_key_of_the_step() {
        let (keeps, post) = hooks();
        let input = json!({ "webhook": "robot", "title": "a\nb", "text": "two\nlines", "data": { "killed": [7] } });
        let (plan, output, _) = Act::new().whole(&post, input).await;
        let call = json!({
            "call": "webhook.post", "webhook": "robot", "template": "json", "host": "robot.example.org",
            "title": "a\\nb", "text": "two\nlines", "level": "high", "data": { "killed": [7] },
        });
        assert_eq!((&plan.calls[..], output), (&[call][..], json!({ "status": 204 })));
        let told = keeps.0.lock().unwrap();
        assert_eq!((told[0].key.as_str(), told[0].level), ("test", Level::High));
    }

    #[tokio::test]
    async fn one_that_is_another_than_in_the_plan_is_told_nothing() {
        let (_, post) = hooks();
        let other = Arc::new(Keeps(Mutex::default(), "-2".to_owned()));
        let in_force = |hook: Option<Arc<dyn Hooks>>| {
            let webhooks = hook.map(|hook| ("robot".into(), Way::Ready(hook))).into_iter().collect();
            Arc::new(InForce { webhooks, ..InForce::default() })
        };
        let input = json!({ "webhook": "robot", "title": "t", "text": "" });
        let act = Act::new();
        let planned = post.plan(&input).await.unwrap();
        post.0.replace(in_force(Some(other.clone())));
        let error = post.run(&act.admitted(&post, planned), &act.context()).await.unwrap_err();
        let wanted = "`robot` is `json` at robot-2.example.org now, and was `json` at robot.example.org in the plan";
        assert!(matches!(&error, ActionError::GiveUp { why, hint: Some(_) } if why == wanted), "{error:?}");
        if cfg!(feature = "webhook") {
            post.0.replace(in_force(None));
            let planned = post.plan(&input).await.unwrap();
            post.0.replace(in_force(Some(other.clone())));
            let error = post.run(&act.admitted(&post, planned), &act.context()).await.unwrap_err();
            assert!(error.to_string().contains("was not there in the plan"), "{error}");
        }
        assert!(other.0.lock().unwrap().is_empty());
    }

    #[tokio::test]
    async fn one_that_is_not_there_is_told_in_the_plan() {
        let (keeps, post) = hooks();
        let to = |name: &str| json!({ "webhook": name, "title": "t", "text": "" });
        let off = post.plan(&to("deaf")).await;
        if !cfg!(feature = "webhook") {
            assert!(matches!(off, Err(ActionError::GiveUp { hint: Some(hint), .. }) if hint.contains("`webhook`")));
            return;
        }
        assert!(off.unwrap().would_fail[0].contains("`deaf`: this webhook is off: `secret` cannot be read; hint: "));
        let plan = post.plan(&to("nobody")).await.unwrap();
        assert!(plan.would_fail[0].contains("`nobody`: this webhook is not configured"), "{plan:?}");
        let large = json!({ "webhook": "robot", "title": "t", "text": "", "data": { "x": "y".repeat(MOST_DATA) } });
        assert!(post.plan(&large).await.unwrap_err().to_string().contains("bytes as JSON"));
        assert!(keeps.0.lock().unwrap().is_empty());
    }
}

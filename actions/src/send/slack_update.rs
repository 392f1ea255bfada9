//! `slack.update`: puts right what `slack.post` said.
//!
//! Keeps true: done twice, the message stands as if it was done once; of a message that is gone no other is made.

use super::slack_post::{misplaced, said};
use super::ways::{self, Said, Ways};
use super::{failed, no_undo, order, to_json};
use crate::process::input;
use quell_model::{Action, ActionContext, ActionError, ActionSpec, Admitted, Guarantee, Json, Lane, Plan, Truth, Want};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::sync::Arc;

/// What it is.
pub static SPEC: ActionSpec = ActionSpec {
    name: "slack.update",
    summary: "puts right what `slack.post` said",
    input: || schemars::schema_for!(Input),
    output: || schemars::schema_for!(Output),
    lane: Lane::Notify,
    guarantee: Guarantee::ExactlyOnceInEffect,
    undoable: false,
    asks_by_default: false,
    targets: &[],
    permissions: &[],
    predict: |input| json!({ "channel": text(input, "channel"), "ts": text(input, "ts") }),
};

/// Which message, and what it says from now on.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Input {
    /// The `channel` that `slack.post` gave.
    #[schemars(extend("x-quell-way" = "slack"))]
    pub channel: String,
    /// The `ts` that it gave.
    pub ts: String,
    /// Plain text of several lines, in place of what stands there.
    pub text: String,
}

/// The message.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Output {
    /// The id of its channel.
    pub channel: String,
    /// Its moment, which it keeps.
    pub ts: String,
}

/// What was decided when it was planned.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Order {
    call: String,
    channel: String,
    ts: String,
    text: String,
}

/// The verb.
pub(crate) struct SlackUpdate(pub(crate) Arc<Ways>);

fn text(input: &Json, key: &str) -> String {
    input[key].as_str().unwrap_or_default().to_owned()
}

#[async_trait::async_trait]
impl Action for SlackUpdate {
    fn spec(&self) -> &'static ActionSpec {
        &SPEC
    }

    async fn plan(&self, json: &Json) -> Result<Plan, ActionError> {
        let Input { channel, ts, text } = input(json)?;
        if let Some(error) = misplaced(Some(&channel), Some(("ts", &ts))) {
            return Err(error);
        }
        let order = Order { call: SPEC.name.to_owned(), text: said(&text)?, channel, ts };
        let mut would_fail = Vec::new();
        if let Err(not) = self.0.now().slack.ready(&ways::SLACK) {
            would_fail.push(not.planned()?);
        }
        let predicted = json!({ "channel": order.channel, "ts": order.ts });
        Ok(Plan { calls: vec![to_json(&order)], predicted, would_fail, ..Plan::default() })
    }

    async fn run(&self, go: &Admitted, _: &ActionContext) -> Result<Json, ActionError> {
        let Order { channel, ts, text, .. } = order(go.plan())?;
        let ways = self.0.now();
        let chat = ways.slack.ready(&ways::SLACK)?;
        let there = chat.speaks.put_right(&Said { channel, ts }, &text).await.map_err(failed)?;
        Ok(json!({ "channel": there.channel, "ts": there.ts }))
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
    use super::super::slack_post::tests::workspace;
    use super::*;
    use crate::testing::Act;

    #[tokio::test]
    async fn a_message_is_put_right_where_it_stands() {
        let (keeps, ways) = workspace();
        let update = SlackUpdate(ways);
        let there = json!({ "channel": "C0INCIDENT", "ts": "1.000001", "text": "over & done" });
        let (plan, output, _) = Act::new().whole(&update, there).await;
        let call = json!({ "call": "slack.update", "channel": "C0INCIDENT", "ts": "1.000001", "text": "over & done" });
        assert_eq!((&plan.calls[..], &output), (&[call][..], &plan.predicted));
        assert_eq!(*keeps.said.lock().unwrap(), ["C0INCIDENT/1.000001 over & done"]);
    }

    #[tokio::test]
    async fn what_is_no_message_is_refused() {
        let update = SlackUpdate(workspace().1);
        for (bad, why) in [
            (json!({ "channel": "C0INCIDENT", "ts": "", "text": "x" }), "`ts` is ``"),
            (json!({ "channel": "<!channel>", "ts": "1.1", "text": "x" }), "is no channel"),
            (json!({ "channel": "C0INCIDENT", "ts": "1.1", "text": "" }), "`text` is empty"),
        ] {
            let error = update.plan(&bad).await.unwrap_err().to_string();
            assert!(error.contains(why), "{bad}: {error}");
        }
    }
}

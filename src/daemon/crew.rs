//! The crews: hands on this host (the only place where they are made), and the replay's, which hold nothing.

use quell_actions::HostWorld;
use quell_model::world::Verb;
use quell_model::{
    Action, ActionContext, ActionError, ActionSpec, Admitted, Crew, Json, Live, Look, Name, Plan, Replay, Target,
    Truth, Want,
};
use std::sync::Arc;

/// Every verb that this build has, with hands on `world`.
pub(crate) fn live(world: HostWorld) -> Crew<Live> {
    Crew::new(quell_actions::process::crew(world))
}

/// The same verbs without hands: they say what they would do, as far as the input alone tells it.
pub(crate) fn replay(node: &Name) -> Crew<Replay> {
    let verb = |spec: &'static ActionSpec| {
        let told = Arc::new(Told { spec, node: node.clone() });
        if spec.lane == quell_model::Lane::Read { Verb::Looks(told) } else { Verb::Acts(told) }
    };
    Crew::new(quell_actions::specs().into_iter().map(verb).collect())
}

/// A verb that only tells.
struct Told {
    spec: &'static ActionSpec,
    node: Name,
}

#[async_trait::async_trait]
impl Action for Told {
    fn spec(&self) -> &'static ActionSpec {
        self.spec
    }

    async fn plan(&self, input: &Json) -> Result<Plan, ActionError> {
        let target = |key: &&str| {
            let id = input.get(*key).and_then(Json::as_str)?.to_owned();
            let label = format!("{key} {}", id.split('.').next().unwrap_or(&id));
            let facts = quell_model::TargetFacts::Other;
            Some(Target { node: self.node.clone(), kind: Name::from(*key), id, label, named: true, facts })
        };
        Ok(Plan {
            targets: self.spec.targets.iter().filter_map(target).collect(),
            calls: vec![serde_json::json!({ "action": self.spec.name, "with": input })],
            predicted: (self.spec.predict)(input),
            ..Plan::default()
        })
    }

    async fn run(&self, _: &Admitted, _: &ActionContext) -> Result<Json, ActionError> {
        Err(no_hands())
    }

    async fn verify(&self, _: &Plan, _: Want) -> Result<Truth, ActionError> {
        Ok(Truth::CannotAsk)
    }

    async fn undo(&self, _: &Admitted, _: &ActionContext) -> Result<Json, ActionError> {
        Err(no_hands())
    }
}

#[async_trait::async_trait]
impl Look for Told {
    fn spec(&self) -> &'static ActionSpec {
        self.spec
    }

    async fn look(&self, input: &Json) -> Result<Json, ActionError> {
        Ok((self.spec.predict)(input))
    }
}

fn no_hands() -> ActionError {
    ActionError::give_up("a replay touches nothing")
}

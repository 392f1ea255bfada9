//! The crews: hands on this host and on what is sent (the only place where they are made), and the replay's, which hold nothing.

use quell_actions::HostWorld;
use quell_actions::send::ways::Ways;
use quell_model::world::Verb;
use quell_model::{
    Action, ActionContext, ActionError, ActionSpec, Admitted, Crew, Json, Live, Look, Name, Plan, Replay, Target,
    Truth, Want,
};
use std::sync::Arc;

/// What every build knows of the verbs, hands or not.
pub(crate) fn specs() -> Vec<&'static ActionSpec> {
    [quell_actions::specs(), quell_kubernetes::specs()].concat()
}

/// Every verb that this build has, with hands on `world`, and what sends by these ways.
pub(crate) fn live(world: HostWorld, ways: &Arc<Ways>) -> Crew<Live> {
    #[cfg(feature = "kubernetes")]
    let node = quell_actions::network::PodCut::new(world.clone());
    let here = quell_actions::crew(world, ways);
    #[cfg(feature = "kubernetes")]
    let here = {
        let cluster = quell_kubernetes::Cluster::new(quell_kubernetes::Settings::default()).with_cut(node);
        let cluster = Arc::new(cluster);
        [here, quell_kubernetes::crew(&cluster)].concat()
    };
    Crew::new(here)
}

/// The same verbs without hands: they say what they would do, as far as the input alone tells it.
pub(crate) fn replay(node: &Name) -> Crew<Replay> {
    let verb = |spec: &'static ActionSpec| {
        let told = Arc::new(Told { spec, node: node.clone() });
        if spec.lane == quell_model::Lane::Read { Verb::Looks(told) } else { Verb::Acts(told) }
    };
    Crew::new(specs().into_iter().map(verb).collect())
}

/// What an input names: text, or an object of a cluster as events have it.
fn named(input: &Json) -> Option<String> {
    let part = |key: &str| input.get(key).and_then(Json::as_str);
    let object = || Some(format!("{}/{}", part("namespace")?, part("name")?));
    input.as_str().map(str::to_owned).or_else(object)
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
            let id = named(input.get(*key)?)?;
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

#[cfg(test)]
mod tests {
    use std::path::{Path, PathBuf};

    fn sources(dir: &Path, found: &mut Vec<PathBuf>) {
        for entry in std::fs::read_dir(dir).unwrap().flatten() {
            let path = entry.path();
            if path.is_dir() {
                sources(&path, found);
            } else if path.extension().is_some_and(|end| end == "rs") {
                found.push(path);
            }
        }
    }

    #[test]
    fn hands_on_this_host_are_made_here_only() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let mut found = Vec::new();
        for dir in ["src", "engine/src", "detectors-ebpf/src"] {
            sources(&root.join(dir), &mut found);
        }
        // In two parts, so that this line is no place.
        let made =
            ["actions", "kubernetes", "network", "process", "send"].map(|folder| format!("{folder}::crew") + "(");
        let typed = "Crew<".to_owned() + "Live>";
        let others: Vec<&PathBuf> = found
            .iter()
            .filter(|path| !path.ends_with("src/daemon/crew.rs"))
            .filter(|path| {
                let text = std::fs::read_to_string(path).unwrap();
                let code = text.lines().filter(|line| !line.trim_start().starts_with("//"));
                code.into_iter().any(|line| made.iter().any(|made| line.contains(made)) || line.contains(&typed))
            })
            .collect();
        assert!(others.is_empty(), "{others:?}");
    }
}

//! `process.block_exec`: keeps an executable file from starting, on the host or in a cgroup, for a time.
//!
//! The kernel's reflex does it ([`Reflex`]): who execs the image dies before its first instruction. Keeps true: what is
//! entered is the image that was planned (device, inode, generation), whatever its path leads to later; undo takes out
//! what this effect entered, and leaves there what somebody else wants still. Without `for` its lease says when it ends, and holds it.

mod image;
mod needed;
mod order;
mod packages;
mod turns;

use super::cgroup::Paths;
use super::hands::{Hands, input};
use super::pod;
use super::stat::Stat;
use crate::span::Span;
use image::Opened;
use order::{Before, Order};
use packages::Packages;
use quell_model::guard::Within;
use quell_model::{
    Action, ActionContext, ActionError, ActionSpec, Admitted, Around, Guarantee, Json, Lane, Plan, ProcessId, Reflex,
    Spot, Target, TargetFacts, Terms, Truth, Want, reflex_id,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::fs::File;
use std::os::fd::AsFd;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use turns::{Others, Turns};

/// What it is.
pub static SPEC: ActionSpec = ActionSpec {
    name: "process.block_exec",
    summary: "keeps an executable file from starting, on the host or in a cgroup, for a time",
    input: || schemars::schema_for!(Input),
    output: || schemars::schema_for!(Output),
    lane: Lane::Contain,
    guarantee: Guarantee::ExactlyOnceInEffect,
    undoable: true,
    asks_by_default: false,
    targets: &["path", "inode"],
    permissions: &["CAP_BPF", "CAP_PERFMON", "CAP_SYS_ADMIN", "CAP_DAC_READ_SEARCH"],
    predict: |input| json!({ "path": input.get("path").cloned().unwrap_or_default() }),
};

/// The budget's window.
const WINDOW: Duration = Duration::from_secs(3600);
/// Strikes in an hour, where the input says nothing.
const MOST: u32 = 10_000;
/// How long, where the input says nothing, until its lease holds it.
pub(crate) const FOR: Duration = Duration::from_secs(24 * 3600);

/// Where it may not start.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    /// Anywhere on this host.
    #[default]
    Host,
    /// In a cgroup and all below it.
    Cgroup,
}

/// What may not start.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Input {
    /// The file, from the root of the host, or of `process` where that is given. Without it: what `process` runs.
    #[serde(default)]
    pub path: Option<String>,
    /// The file's inode: refused when `path` leads to another. Alone, it is looked for among what runs.
    #[serde(default)]
    pub inode: Option<u64>,
    /// Whose image, or from whose root `path` is looked up.
    #[serde(default)]
    pub process: Option<ProcessId>,
    /// How far it reaches.
    #[serde(default)]
    pub scope: Scope,
    /// The cgroup's path below its hierarchy's root, for scope `cgroup`; without it: that of `process`.
    #[serde(default)]
    pub cgroup: Option<String>,
    /// How long: then it ends by itself, and nobody is asked. Without it, as long as its lease stands.
    #[serde(default, rename = "for")]
    pub(crate) lasting: Option<Span>,
    /// So many strikes in an hour; then it strikes no more, so that a mistake does not hold a host down. 10000 without it.
    #[serde(default)]
    pub budget: Option<u32>,
}

/// What may not start now.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Output {
    /// The file.
    pub path: String,
    /// Its content when it was planned.
    pub sha256: String,
    /// Until when, by the wall clock, where `for` says so; else its lease does.
    pub until: Option<String>,
    /// Its number in the kernel's ledger.
    pub reflex: String,
}

/// The verb.
#[derive(Debug)]
pub(crate) struct BlockExec(Arc<Hands>, Packages, Turns);

/// The cgroup of the scope, and the spots that it means: one a hierarchy that has it.
type Reach = (Option<String>, Vec<Around>);

impl BlockExec {
    pub(crate) fn new(hands: Arc<Hands>) -> Self {
        Self(hands, Packages::default(), Turns::default())
    }

    fn reflex(&self) -> Result<&dyn Reflex, ActionError> {
        self.0.world.reflex.as_deref().ok_or_else(|| ActionError::GiveUp {
            why: "there is no reflex in this kernel".to_owned(),
            hint: Some("`quell doctor` says what it lacks".to_owned()),
        })
    }

    fn reach(&self, input: &Input) -> Result<Reach, ActionError> {
        let world = &self.0.world;
        if input.scope == Scope::Host {
            return match &input.cgroup {
                Some(_) => Err(ActionError::give_up("a `cgroup` needs `scope: cgroup`")),
                None => Ok((None, vec![Around::Host])),
            };
        }
        let own = || {
            let paths = Paths::read(world, image::living(world, input.process.as_ref()?).ok()?).ok()??;
            paths.path().map(str::to_owned)
        };
        let path = input.cgroup.clone().or_else(own);
        let path =
            path.ok_or_else(|| ActionError::give_up("`scope: cgroup` needs a `cgroup`, or a `process` that lives"))?;
        let parts = || path.split('/').filter(|part| !part.is_empty());
        if !path.starts_with('/') || parts().any(|part| part == "..") || parts().next().is_none() {
            return Err(ActionError::give_up(format!("`{path}` is no cgroup below the root")));
        }
        let found: Vec<Around> = world.cgroups.iter().filter_map(|root| image::cgroup(root, &path)).collect();
        if found.is_empty() {
            return Err(ActionError::give_up(format!("there is no cgroup `{path}`")));
        }
        Ok((Some(path), found))
    }

    /// The second lock behind the guard.
    fn may_do(&self, plan: &Plan) -> Result<(), ActionError> {
        let world = &self.0.world;
        let objection = |target: &Target| {
            let TargetFacts::Image { needed, .. } = &target.facts else { return Some("it is no image".to_owned()) };
            let elsewhere = (target.node != world.node).then(|| format!("it is on node `{}`", target.node));
            let outside = || world.within.as_ref().and_then(|within: &Within| within.objection(target));
            elsewhere.or_else(|| needed.clone()).or_else(outside)
        };
        match plan.targets.iter().find_map(|target| Some((target, objection(target)?))) {
            Some((target, why)) => Err(ActionError::give_up(format!("{} is not touched: {why}", target.label))),
            None => Ok(()),
        }
    }

    /// What runs of it now, and what the reflex does not see.
    fn still_open(&self, reflex: &dyn Reflex, opened: &Opened, scoped: bool) -> Vec<String> {
        let path = &opened.path;
        let mut open = vec![format!("a copy of `{path}`, or a file that takes its place, is another image and starts")];
        if opened.script {
            match reflex.scripts() {
                Some(how) if how.as_str() == "lsm" => {}
                Some(_) => {
                    open.push("a script starts again while no quell lives: fanotify's marks end with it".to_owned())
                }
                None => open.push("nothing keeps a script from starting here".to_owned()),
            }
            open.push(format!("an interpreter that is given `{path}` as an argument reads it: `sh {path}`"));
        } else {
            open.push(format!("the ELF interpreter that is given `{path}` as an argument runs it: `ld.so {path}`"));
        }
        if opened.overlay {
            open.push("the same layer in another overlay mount is another image".to_owned());
        }
        if scoped {
            open.push("a process that was moved out of the cgroup is not seen".to_owned());
        }
        let running = image::running(&self.0.world, opened.file);
        if !running.is_empty() {
            open.push(format!("it runs already and is not ended by this: {}", running.join(", ")));
        }
        open
    }

    fn terms(order: &Order, id: u64, owner: &str, now_ns: u64) -> Terms {
        Terms {
            id,
            owner: owner.to_owned(),
            label: order.path.clone(),
            until_ns: now_ns.saturating_add(order.for_ms.saturating_mul(1_000_000)),
            most: order.most,
            within_ns: u64::try_from(WINDOW.as_nanos()).unwrap_or(u64::MAX),
        }
    }

    /// Enters it there; whose place it takes waits for it.
    fn enter(
        &self,
        reflex: &dyn Reflex,
        spot: &Spot,
        terms: &Terms,
        file: Option<&File>,
        now_ns: u64,
    ) -> Result<(), ActionError> {
        let stood = reflex.standing(spot).map_err(ActionError::retry)?;
        reflex.enter(spot, terms, file.map(AsFd::as_fd)).map_err(ActionError::give_up)?;
        self.2.stands(spot, terms.id, now_ns);
        if let Some(other) = stood.filter(|one| one.terms.id != terms.id && one.terms.until_ns > now_ns) {
            self.2.waits(spot, &other.terms, now_ns);
        }
        Ok(())
    }

    /// Takes out what this effect entered, and leaves there what others want; gives how many, and who those are.
    fn take_back(
        &self,
        reflex: &dyn Reflex,
        order: &Order,
        before: &Before,
        id: u64,
        now_ns: u64,
    ) -> Result<(u32, Others), ActionError> {
        let (mut removed, mut others) = (0, Others::default());
        for spot in &order.spots {
            let Some(stands) = reflex.standing(spot).map_err(ActionError::retry)? else { continue };
            // What somebody else entered meanwhile is theirs.
            if stands.terms.id != id {
                others.add(&stands, now_ns);
                continue;
            }
            match self.2.next(spot, id, before.at(spot), now_ns) {
                Some(next) => {
                    let file = planned_file(reflex, order, before);
                    reflex.enter(spot, &next, file.as_ref().map(AsFd::as_fd)).map_err(ActionError::give_up)?;
                    self.2.stands(spot, next.id, now_ns);
                    // What it has struck before counts on.
                    if let Some(stands) = reflex.standing(spot).map_err(ActionError::retry)? {
                        others.add(&stands, now_ns);
                    }
                }
                None => drop(reflex.remove(spot).map_err(ActionError::retry)?),
            }
            removed += 1;
        }
        self.2.over(id, now_ns);
        Ok((removed, others))
    }
}

/// By which number the kernel knows this effect: the same at every attempt, and when it is undone.
pub(crate) fn number(cx: &ActionContext) -> u64 {
    reflex_id(cx.key.part())
}

/// The run whose step it is: a key begins with it.
pub(crate) fn owner(cx: &ActionContext) -> &str {
    cx.key.0.split('/').next().unwrap_or_default()
}

#[async_trait::async_trait]
impl Action for BlockExec {
    fn spec(&self) -> &'static ActionSpec {
        &SPEC
    }

    async fn plan(&self, json: &Json) -> Result<Plan, ActionError> {
        let input: Input = input(json)?;
        let world = &self.0.world;
        let reflex = self.reflex()?;
        let opened = image::open(world, &input)?;
        let (cgroup, around) = self.reach(&input)?;
        let image = reflex.image(opened.handle.as_fd()).map_err(ActionError::retry)?;
        let spots: Vec<Spot> = around.into_iter().map(|around| Spot { image, around }).collect();
        let lasting = input.lasting.as_ref().map_or(FOR, |span| span.0);
        let order = Order {
            call: SPEC.name.to_owned(),
            path: opened.path.clone(),
            open: opened.from.clone(),
            script: opened.script,
            for_ms: millis(lasting),
            ends: input.lasting.is_some(),
            most: input.budget.unwrap_or(MOST),
            spots,
        };
        let mut stood = Vec::new();
        for spot in &order.spots {
            stood.extend(reflex.standing(spot).map_err(ActionError::retry)?);
        }
        // What is struck is detected too: a block that has just begun is not begun anew for each.
        let enough = image::now_ns().saturating_add(order.for_ms.saturating_mul(1_000_000) / 10 * 9);
        let already = stood.len() == order.spots.len()
            && stood.iter().all(|one| !one.spent && one.terms.until_ns >= enough && one.terms.most >= order.most);
        let facts = TargetFacts::Image {
            path: opened.path.clone(),
            file: opened.file,
            needed: needed::why(world, &self.1, &opened),
            cgroup: cgroup.clone(),
            pod: cgroup.as_ref().and_then(|path| pod::of_path(world, path)),
        };
        let label = match &cgroup {
            Some(cgroup) => format!("{} in {cgroup}", opened.path),
            None => opened.path.clone(),
        };
        let id = format!("{}:{}:{}", image.device, image.inode, image.generation);
        let target = Target { node: world.node.clone(), kind: "image".into(), id, label, named: true, facts };
        let still_open = self.still_open(reflex, &opened, cgroup.is_some());
        let path = opened.path.clone();
        // The last thing, since it takes longest: a large file is read beside the engine's thread.
        let sha256 = opened.sha256().await?;
        Ok(Plan {
            targets: vec![target],
            calls: vec![serde_json::to_value(&order).expect("an order has string keys only")],
            before: serde_json::to_value(Before { image, sha256: sha256.clone(), stood })
                .expect("what stood before has string keys only"),
            predicted: json!({ "path": path, "sha256": sha256 }),
            still_open,
            would_fail: Vec::new(),
            already,
        })
    }

    async fn run(&self, go: &Admitted, cx: &ActionContext) -> Result<Json, ActionError> {
        self.may_do(go.plan())?;
        let reflex = self.reflex()?;
        let (order, before) = (Order::of(go.plan())?, Before::of(go.plan())?);
        let now = cx.clock.now();
        let terms = Self::terms(&order, number(cx), owner(cx), now.boot_ns);
        let file = planned_file(reflex, &order, &before);
        for spot in &order.spots {
            let entered = self.enter(reflex, spot, &terms, file.as_ref(), now.boot_ns);
            if let Err(why) = entered {
                // Half a block is none: what was entered before it is taken back, for the step says that it failed.
                let left = self.take_back(reflex, &order, &before, terms.id, now.boot_ns).err();
                let left = left.map(|error| format!("; an entry stays in force: {error}")).unwrap_or_default();
                return Err(ActionError::give_up(format!("{why}{left}")));
            }
        }
        let until = order.ends.then(|| now.after(Duration::from_millis(order.for_ms)).wall.to_string());
        let output = Output { path: order.path, sha256: before.sha256, until, reflex: format!("{:016x}", terms.id) };
        Ok(serde_json::to_value(output).expect("an output has string keys only"))
    }

    async fn verify(&self, plan: &Plan, want: Want) -> Result<Truth, ActionError> {
        let reflex = self.reflex()?;
        let order = Order::of(plan)?;
        let now = image::now_ns();
        for spot in &order.spots {
            let stands = reflex.standing(spot).map_err(ActionError::retry)?.filter(|one| one.terms.until_ns > now);
            let path = &order.path;
            let against = match (want, stands) {
                (Want::Acted, None) => Some(format!("nothing keeps `{path}` from starting")),
                (Want::Acted, Some(one)) if one.spent => Some(format!("the budget of `{path}` is used up")),
                // Whoever's it is: while another's stands in its place, what it is for is so.
                (Want::Undone, Some(_)) => Some(format!("`{path}` is kept from starting")),
                _ => None,
            };
            if let Some(why) = against {
                return Ok(Truth::HoldsNot(why));
            }
        }
        if want == Want::Acted {
            // It starts dummies: beside the engine's thread.
            tokio::task::yield_now().await;
            if let Err(why) = reflex.attempt() {
                return Ok(Truth::HoldsNot(why));
            }
        }
        Ok(Truth::Holds)
    }

    async fn verify_undone(&self, plan: &Plan, cx: &ActionContext) -> Result<Truth, ActionError> {
        let (reflex, order, now) = (self.reflex()?, Order::of(plan)?, image::now_ns());
        for spot in &order.spots {
            let stands = reflex.standing(spot).map_err(ActionError::retry)?.filter(|one| one.terms.until_ns > now);
            let is_own = stands.as_ref().is_some_and(|one| one.terms.id == number(cx));
            if is_own || self.2.may_wait(spot, number(cx), stands.is_some(), now) {
                return Ok(Truth::HoldsNot(format!("`{}` is kept from starting", order.path)));
            }
        }
        Ok(Truth::Holds)
    }

    async fn undo(&self, go: &Admitted, cx: &ActionContext) -> Result<Json, ActionError> {
        self.may_do(go.plan())?;
        let reflex = self.reflex()?;
        let (order, before) = (Order::of(go.plan())?, Before::of(go.plan())?);
        let now = cx.clock.now().boot_ns;
        let (removed, others) = self.take_back(reflex, &order, &before, number(cx), now)?;
        let mut output = json!({ "path": order.path, "removed": removed });
        if let Some(still) = others.told(&order.path) {
            output["still"] = still.into();
        }
        Ok(output)
    }

    fn is_held(&self) -> bool {
        true
    }

    fn ends_after(&self, plan: &Plan) -> Option<Duration> {
        let order = Order::of(plan).ok().filter(|order| order.ends)?;
        Some(Duration::from_millis(order.for_ms))
    }

    async fn hold(&self, go: &Admitted, cx: &ActionContext, lasting: Duration) -> Result<(), ActionError> {
        self.may_do(go.plan())?;
        let reflex = self.reflex()?;
        let (order, before) = (Order::of(go.plan())?, Before::of(go.plan())?);
        let order = Order { for_ms: millis(lasting), ..order };
        let terms = Self::terms(&order, number(cx), owner(cx), cx.clock.now().boot_ns);
        let file = planned_file(reflex, &order, &before);
        // fanotify's marks end with whoever set them.
        let is_marked = file.is_some() || !order.script || reflex.scripts().is_some_and(|how| how.as_str() == "lsm");
        let now = cx.clock.now().boot_ns;
        for spot in &order.spots {
            let stands = reflex.standing(spot).map_err(ActionError::retry)?;
            let is_ours = stands.as_ref().is_none_or(|one| one.terms.id == terms.id);
            if !is_ours && stands.is_some_and(|one| one.terms.until_ns >= terms.until_ns) {
                self.2.waits(spot, &terms, now);
                continue;
            }
            if is_marked {
                self.enter(reflex, spot, &terms, file.as_ref(), now)?;
            } else {
                // Without its mark it starts: what stands there would be a lie.
                reflex.remove(spot).map_err(ActionError::retry)?;
            }
        }
        if is_marked {
            Ok(())
        } else {
            Err(ActionError::give_up(format!(
                "the script `{}` is found no more, and cannot be marked again",
                order.path
            )))
        }
    }

    async fn plan_again(&self, input: &Json, former: &Plan) -> Result<Plan, ActionError> {
        let (order, before) = (Order::of(former)?, Before::of(former)?);
        let plan = self.plan(input).await?;
        if Before::of(&plan)?.sha256 != before.sha256 {
            return Err(ActionError::give_up(format!("`{}` has another content now", order.path)));
        }
        Ok(plan)
    }
}

/// As a plan writes it.
pub(crate) fn millis(lasting: Duration) -> u64 {
    u64::try_from(lasting.as_millis()).unwrap_or(u64::MAX)
}

/// Only a script needs the file itself, and only the one that was planned.
fn planned_file(reflex: &dyn Reflex, order: &Order, before: &Before) -> Option<File> {
    let is_it = |file: &File| reflex.image(file.as_fd()).is_ok_and(|image| image == before.image);
    [order.open.as_path(), Path::new(&order.path)].into_iter().find_map(|path| image::reopen(path).filter(is_it))
}

/// Whether this process is the one that was meant, still.
fn is_same(world: &crate::world::HostWorld, id: &ProcessId) -> bool {
    Stat::read(world, id.pid).is_ok_and(|stat| stat.is_some_and(|stat| stat.id(world).same_process(id)))
}

#[cfg(test)]
#[path = "block_exec/tests.rs"]
mod tests;

//! `network.isolate`: cuts a process, a cgroup, a container or a pod off: what its sockets send and receive is dropped, but for `allow`.
//!
//! The kernel does it ([`quell_model::Cut`]) on the v2 cgroup; a process without one of its own is brought into one first, with
//! all that it started. Keeps true: what was open before is ended too; whoever is beside it goes on; undo gives back what
//! can be given back: sockets that were ended stay so.

use super::cutting::{Cutting, Done, What};
use super::home::Home;
use super::order::Order;
use super::peers::nets;
use super::whom::Whom;
use crate::process::Hands;
use crate::process::hands::input;
use crate::process::scope::Scope as ProcessScope;
use crate::span::Span;
use crate::world::HostWorld;
use quell_model::{
    Action, ActionContext, ActionError, ActionSpec, Admitted, CutRule, Guarantee, Json, Lane, Plan, ProcessId, Truth,
    Want,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;

pub use super::whom::Pod;

/// What it is.
pub static SPEC: ActionSpec = ActionSpec {
    name: "network.isolate",
    summary: "cuts a process, a cgroup, a container or a pod off the network, but for what is allowed",
    input: || schemars::schema_for!(Input),
    output: || schemars::schema_for!(Output),
    lane: Lane::Contain,
    guarantee: Guarantee::ExactlyOnceInEffect,
    undoable: true,
    asks_by_default: false,
    targets: &["process", "cgroup", "container", "pod"],
    permissions: &["CAP_BPF", "CAP_DAC_OVERRIDE", "CAP_NET_ADMIN", "CAP_PERFMON", "CAP_SYS_ADMIN", "CAP_SYS_PTRACE"],
    predict: |input| json!({ "cgroup": input.get("cgroup").cloned().unwrap_or_default() }),
};

/// How far it reaches around a process.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    /// Its cgroup and all below. Where it shares that with others (the root's, a login's session): like `tree`.
    #[default]
    Cgroup,
    /// Its container.
    Container,
    /// The process and all that it started, brought into a cgroup of their own.
    Tree,
}

impl From<Scope> for ProcessScope {
    fn from(scope: Scope) -> Self {
        match scope {
            Scope::Cgroup => Self::Cgroup,
            Scope::Container => Self::Container,
            Scope::Tree => Self::Tree,
        }
    }
}

/// What is cut off: a `process`, a `cgroup`, a `container` or a `pod`, one of them.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Input {
    /// A process, with what `scope` says of it.
    #[serde(default)]
    pub process: Option<ProcessId>,
    /// How far it reaches around `process`.
    #[serde(default)]
    pub scope: Scope,
    /// A cgroup's path below the v2 hierarchy's root, with all below it.
    #[serde(default)]
    pub cgroup: Option<String>,
    /// A container's id, whole or from its beginning: 12 to 64 hexadecimal digits.
    #[serde(default)]
    pub container: Option<String>,
    /// A pod of this node, with all of its containers: its uid, or `event.pod`.
    #[serde(default)]
    pub pod: Option<Pod>,
    /// Networks (`10.0.0.0/8`, `2001:db8::/32`) and addresses to which and from which everything passes. Without it: nothing.
    #[serde(default)]
    pub allow: Vec<String>,
    /// How long: then it ends by itself, and nobody is asked. Without it, as long as its lease stands.
    #[serde(default, rename = "for")]
    pub(crate) lasting: Option<Span>,
}

/// What is cut off now.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Output {
    /// The cgroup's path below the v2 hierarchy's root.
    pub cgroup: String,
    /// Processes that were brought into it for this.
    pub moved: u32,
    /// Sockets that were ended: `tcp 10.0.0.1:40000 → 203.0.113.5:443`.
    pub destroyed: Vec<String>,
    /// Those that could not be, each with why.
    pub left: Vec<String>,
    /// Devices that are hooked too, the host's ends of the veths into its network: whatever passes them is dropped, also packets that no socket of its
    /// sends.
    #[serde(default)]
    pub devices: Vec<String>,
    /// What stays on the loopback of its network namespace passes.
    pub loopback: bool,
    /// Until when, by the wall clock, where `for` says so; else its lease does.
    pub until: Option<String>,
    /// Its number in the kernel.
    pub cut: String,
}

/// The verb.
#[derive(Debug)]
pub(crate) struct Isolate(Cutting);

impl Isolate {
    pub(crate) fn new(hands: Arc<Hands>) -> Self {
        Self(Cutting(hands))
    }

    async fn home(&self, input: &Input) -> Result<Home, ActionError> {
        let whom = Whom {
            process: input.process.as_ref(),
            scope: input.scope.into(),
            cgroup: input.cgroup.as_deref(),
            container: input.container.as_deref(),
            pod: input.pod.as_ref(),
        };
        whom.home(&self.0.0).await
    }
}

/// What is done to a home, whoever's plan it is in.
pub(super) fn what(
    world: &HostWorld,
    home: Home,
    allow: &[String],
    lasting: Option<Span>,
) -> Result<What, ActionError> {
    let allow = nets("allow", allow)?;
    // A namespace of its own: its loopback leads to nobody outside, and its health is asked over it. On the host's it leads
    // to everything that listens there.
    let loopback = home.is_apart(world);
    let predicted = json!({ "cgroup": home.path, "loopback": loopback });
    let still_open = still_open(&home, !allow.is_empty(), loopback);
    Ok(What { call: SPEC.name, home, rule: CutRule::Isolate { allow, loopback }, lasting, still_open, predicted })
}

/// What was done, as it is told.
pub(super) fn output(done: Done) -> Json {
    let output = Output {
        loopback: matches!(done.order.rule, CutRule::Isolate { loopback: true, .. }),
        cgroup: done.order.cgroup,
        moved: done.moved,
        destroyed: done.destroyed,
        left: done.left,
        devices: done.devices,
        until: done.until,
        cut: format!("{:016x}", done.id),
    };
    serde_json::to_value(output).expect("an output has string keys only")
}

/// What it does not cover.
fn still_open(home: &Home, allows: bool, loopback: bool) -> Vec<String> {
    let mut open = vec![
        "what was sent before it is sent".to_owned(),
        if loopback {
            "packet sockets (AF_PACKET, CAP_NET_RAW) send past the cgroup's hooks, and see what arrives: where its network is its own alone, the \
             host's end of its veth is cut too, and they do not (`devices` says so; Linux 6.6)"
        } else {
            "packet sockets (AF_PACKET, CAP_NET_RAW) send past it, and see what arrives"
        }
        .to_owned(),
        "unix sockets, pipes and shared files lead to processes that are not cut off".to_owned(),
        "a socket that lies in the queue of a unix socket, or that io_uring alone has, is ended only if it was opened here"
            .to_owned(),
        "a process that is moved out of the cgroup opens sockets that are not cut off; whoever may write to cgroup.procs can do that"
            .to_owned(),
        "what it makes the kernel or another namespace send for it (forwarding, network file systems) is not seen".to_owned(),
    ];
    if allows {
        open.push("IPv6 neighbour discovery passes: on its link it can carry a few bytes a packet".to_owned());
    }
    if loopback {
        open.push(
            "the hook for what arrives is read back, and not tried, in a network namespace of its own".to_owned(),
        );
        open.push(
            "the loopback of its own network namespace passes: whoever else is in that namespace is reached over it"
                .to_owned(),
        );
    }
    if home.moves.as_ref().is_some_and(|moves| moves.scope == ProcessScope::Container) {
        open.push(
            "who enters the container from now on (exec) is not cut off: its runtime brings them into a cgroup of v1 alone".to_owned(),
        );
    }
    if home.moves.is_some() {
        open.push(
            "listening sockets that they alone have open are closed, and are not opened again by an undo".to_owned(),
        );
        open.push(
            "UDP sockets that they have open go on: the kernel ends those of elsewhere for a moment only; raw sockets, and those \
             that are not connected yet, nobody can end"
                .to_owned(),
        );
        open.push(
            "a socket of theirs that was ended, or that `allow` lets go on, can be connected anew by a program that means to \
             (AF_UNSPEC first)"
                .to_owned(),
        );
        open.push(
            "a listener that processes beside them have open too goes on: what it accepts is not cut off".to_owned(),
        );
    }
    open
}

#[async_trait::async_trait]
impl Action for Isolate {
    fn spec(&self) -> &'static ActionSpec {
        &SPEC
    }

    async fn plan(&self, json: &Json) -> Result<Plan, ActionError> {
        let input: Input = input(json)?;
        self.0.cut()?;
        let home = self.home(&input).await?;
        self.0.plan(what(&self.0.0.world, home, &input.allow, input.lasting)?)
    }

    async fn run(&self, go: &Admitted, cx: &ActionContext) -> Result<Json, ActionError> {
        Ok(output(self.0.run(self.0.order(go)?, cx).await?))
    }

    async fn verify(&self, plan: &Plan, want: Want) -> Result<Truth, ActionError> {
        self.0.verify(&Order::of(plan)?, want).await
    }

    async fn verify_undone(&self, plan: &Plan, cx: &ActionContext) -> Result<Truth, ActionError> {
        self.0.verify_undone(&Order::of(plan)?, cx)
    }

    async fn undo(&self, go: &Admitted, cx: &ActionContext) -> Result<Json, ActionError> {
        self.0.undo(&self.0.order(go)?, &go.plan().before, cx).await
    }

    fn is_held(&self) -> bool {
        true
    }

    fn ends_after(&self, plan: &Plan) -> Option<Duration> {
        Cutting::ends_after(plan)
    }

    async fn hold(&self, go: &Admitted, cx: &ActionContext, lasting: Duration) -> Result<(), ActionError> {
        self.0.hold(self.0.order(go)?, cx, lasting)
    }

    async fn plan_again(&self, json: &Json, former: &Plan) -> Result<Plan, ActionError> {
        let input: Input = input(json)?;
        self.0.again(SPEC.name, former, input.lasting, input.cgroup.is_some() || input.pod.is_some()).await
    }
}

#[cfg(test)]
#[path = "isolate/moves.rs"]
mod moves;
#[cfg(test)]
#[path = "isolate/tests.rs"]
mod tests;

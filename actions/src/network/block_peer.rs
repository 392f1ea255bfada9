//! `network.block_peer`: keeps this host, or a process, a cgroup, a container or a pod of it, from a network: nothing is sent to it, nothing of
//! it arrives.
//!
//! The kernel does it ([`quell_model::Cut`]) on the v2 hierarchy's root, or on the cgroup that [`network.isolate`](super::isolate) would cut off. Keeps true: what is open to the peer when it
//! begins is ended; every other peer goes on; an effect's order is its own, and is taken back alone; the guard is told of a peer that a whole
//! host cannot do without.

use super::cutting::{Cutting, What};
use super::floor;
use super::home::Home;
use super::order::Order;
use super::peers::{Ports, nets, ranges};
use super::whom::{Pod, Whom};
use crate::process::Hands;
use crate::process::hands::input;
use crate::process::scope::Scope as ProcessScope;
use crate::span::Span;
use quell_model::{
    Action, ActionContext, ActionError, ActionSpec, Admitted, CutRule, Guarantee, Json, Lane, Net, Plan, ProcessId,
    TargetFacts, Truth, Want,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;

/// What it is.
pub static SPEC: ActionSpec = ActionSpec {
    name: "network.block_peer",
    summary: "keeps this host, or a process, cgroup, container or pod of it, from a network, for a time",
    input: || schemars::schema_for!(Input),
    output: || schemars::schema_for!(Output),
    lane: Lane::Contain,
    guarantee: Guarantee::ExactlyOnceInEffect,
    undoable: true,
    asks_by_default: false,
    targets: &["cidr", "process", "cgroup", "container", "pod"],
    permissions: &["CAP_BPF", "CAP_DAC_OVERRIDE", "CAP_NET_ADMIN", "CAP_PERFMON", "CAP_SYS_ADMIN", "CAP_SYS_PTRACE"],
    predict: |input| json!({ "cidr": input.get("cidr").cloned().unwrap_or_default() }),
};

/// Which packets.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Direction {
    /// What is sent to the peer.
    Out,
    /// What comes from it.
    In,
    /// Both.
    #[default]
    Both,
}

/// Whom it is kept from.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    /// All of this host.
    #[default]
    Host,
    /// The `cgroup`, `container` or `pod` that is named, with all below it; of a `process` its cgroup. Where it shares that with others (the
    /// root's, a login's session): like `tree`.
    Cgroup,
    /// The container of `process`.
    Container,
    /// `process` and all that it started, brought into a cgroup of their own.
    Tree,
}

impl Scope {
    /// Around what is named; none: all of this host.
    fn around(self) -> Option<ProcessScope> {
        match self {
            Self::Host => None,
            Self::Cgroup => Some(ProcessScope::Cgroup),
            Self::Container => Some(ProcessScope::Container),
            Self::Tree => Some(ProcessScope::Tree),
        }
    }
}

/// Which peer.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Input {
    /// A network (`203.0.113.0/24`, `2001:db8::/32`), or one address.
    pub cidr: String,
    /// Destination ports of TCP, UDP, SCTP and DCCP: the peer's of what is sent, this host's of what arrives. `443`, or `8000-8100`;
    /// 8 ranges at most. Without it: everything, with ports or without.
    #[serde(default)]
    pub ports: Vec<Ports>,
    /// Which packets. An answer is one too: TCP needs both ways.
    #[serde(default)]
    pub direction: Direction,
    /// How far it reaches.
    #[serde(default)]
    pub scope: Scope,
    /// A cgroup's path below the v2 hierarchy's root, with all below it.
    #[serde(default)]
    pub cgroup: Option<String>,
    /// A process, with what `scope` says of it. Beside a `cgroup` it says nothing.
    #[serde(default)]
    pub process: Option<ProcessId>,
    /// A container's id, whole or from its beginning: 12 to 64 hexadecimal digits.
    #[serde(default)]
    pub container: Option<String>,
    /// A pod of this node, with all of its containers: its uid, or `event.pod`.
    #[serde(default)]
    pub pod: Option<Pod>,
    /// How long: then it ends by itself, and nobody is asked. Without it, as long as its lease stands.
    #[serde(default, rename = "for")]
    pub(crate) lasting: Option<Span>,
}

/// What is kept away now.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Output {
    /// The network.
    pub cidr: String,
    /// The cgroup's path below the v2 hierarchy's root; `/`: all of this host.
    pub cgroup: String,
    /// Processes that were brought into it for this.
    pub moved: u32,
    /// Sockets that were ended: `tcp 10.0.0.1:40000 → 203.0.113.5:443`.
    pub destroyed: Vec<String>,
    /// Those that could not be, each with why.
    pub left: Vec<String>,
    /// Until when, by the wall clock, where `for` says so; else its lease does.
    pub until: Option<String>,
    /// Its number in the kernel.
    pub cut: String,
}

/// The verb.
#[derive(Debug)]
pub(crate) struct BlockPeer(Cutting);

impl BlockPeer {
    pub(crate) fn new(hands: Arc<Hands>) -> Self {
        Self(Cutting(hands))
    }

    async fn home(&self, input: &Input) -> Result<Home, ActionError> {
        let hands = &self.0.0;
        let Some(scope) = input.scope.around() else {
            let named = [
                ("cgroup", input.cgroup.is_some()),
                ("container", input.container.is_some()),
                ("pod", input.pod.is_some()),
            ];
            return match named.into_iter().find(|(_, is_named)| *is_named) {
                Some((what, _)) => Err(ActionError::give_up(format!("a `{what}` needs `scope: cgroup`"))),
                None => Home::host(hands),
            };
        };
        let whom = Whom {
            process: input.process.as_ref().filter(|_| input.cgroup.is_none()),
            scope,
            cgroup: input.cgroup.as_deref(),
            container: input.container.as_deref(),
            pod: input.pod.as_ref(),
        };
        whom.home(hands).await
    }
}

fn peer(cidr: &str) -> Result<Net, ActionError> {
    let net: Net = cidr.parse().map_err(|why| ActionError::give_up(format!("`cidr`: {why}")))?;
    if net.is_all() {
        return Err(ActionError::GiveUp {
            why: format!("`cidr`: `{net}` is every peer there is"),
            hint: Some("network.isolate cuts off a cgroup; a host is not cut off by this".to_owned()),
        });
    }
    if [[127, 0, 0, 1], [127, 0, 0, 53]].into_iter().any(|own| net.contains(own.into()))
        || net.contains(std::net::Ipv6Addr::LOCALHOST.into())
    {
        return Err(ActionError::GiveUp {
            why: format!("`cidr`: `{net}` is this host's loopback"),
            hint: Some("name the peer's own address".to_owned()),
        });
    }
    Ok(net)
}

#[async_trait::async_trait]
impl Action for BlockPeer {
    fn spec(&self) -> &'static ActionSpec {
        &SPEC
    }

    async fn plan(&self, json: &Json) -> Result<Plan, ActionError> {
        let input: Input = input(json)?;
        self.0.cut()?;
        let peers = nets("cidr", std::slice::from_ref(&peer(&input.cidr)?.to_string()))?;
        let ports = ranges(&input.ports)?;
        let mut home = self.home(&input).await?;
        // Whoever is in the cgroup goes on, but for this one peer. Of a cgroup above pods these are the guard's to judge, and whoever is moved.
        let is_moved = home.moves.is_some();
        let is_of_pod = home.targets.first().is_some_and(|target| target.facts.pod().is_some());
        let mut first = true;
        home.targets
            .retain(|target| is_moved || std::mem::take(&mut first) || !is_of_pod && target.facts.pod().is_some());
        for target in home.targets.iter_mut().take(usize::from(!is_moved)) {
            target.named = true;
            if let (Scope::Host, TargetFacts::Cgroup { needed, .. }) = (input.scope, &mut target.facts) {
                *needed = floor::needed(&self.0.0, &peers[0]);
            }
            target.id = format!("{} in {}", peers[0], home.path);
            target.label = format!("{} for {}", peers[0], target.label);
        }
        let (outward, inward) = (input.direction != Direction::In, input.direction != Direction::Out);
        let mut still_open = vec![
            "the peer may come from another address, or be reached through another host".to_owned(),
            "packet sockets (AF_PACKET, CAP_NET_RAW) send past it, and see what arrives".to_owned(),
            "what this host forwards for others is not seen".to_owned(),
        ];
        match input.direction {
            Direction::Out => still_open.push("what comes from the peer arrives: UDP needs no answer".to_owned()),
            Direction::In => still_open.push("what is sent to the peer leaves: UDP needs no answer".to_owned()),
            Direction::Both => {}
        }
        if input.scope != Scope::Host {
            still_open
                .push("a process that is moved out of the cgroup opens sockets that are not kept from it".to_owned());
            still_open.push(
                "a socket that was opened elsewhere, and is connected to the peer from now on, is not seen".to_owned(),
            );
        }
        if is_moved {
            still_open
                .push("a listener that they have open goes on: what it accepts is not kept from the peer".to_owned());
        }
        let cidr = peers[0].to_string();
        let predicted = json!({ "cidr": cidr, "cgroup": home.path });
        let rule = CutRule::Block { peers, ports, outward, inward };
        let what = What { call: SPEC.name, home, rule, lasting: input.lasting, still_open, predicted };
        self.0.plan(what)
    }

    async fn run(&self, go: &Admitted, cx: &ActionContext) -> Result<Json, ActionError> {
        let done = self.0.run(self.0.order(go)?, cx).await?;
        let cidr = match &done.order.rule {
            CutRule::Block { peers, .. } | CutRule::Isolate { allow: peers, .. } => peers.first().map(Net::to_string),
        };
        let output = Output {
            cidr: cidr.unwrap_or_default(),
            cgroup: done.order.cgroup,
            moved: done.moved,
            destroyed: done.destroyed,
            left: done.left,
            until: done.until,
            cut: format!("{:016x}", done.id),
        };
        Ok(serde_json::to_value(output).expect("an output has string keys only"))
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
        let by_path = input.cgroup.is_some() || input.pod.is_some() || input.scope == Scope::Host;
        let mut plan = self.0.again(SPEC.name, former, input.lasting, by_path).await?;
        // Who was moved is whoever is there by now.
        if Order::of(former)?.moves.is_none() {
            plan.targets.clone_from(&former.targets);
        }
        Ok(plan)
    }
}

#[cfg(test)]
#[path = "block_peer/tests.rs"]
mod tests;

//! A DAG cut into chains, each step of which needs the one before it: whether one step leads to another is then mostly a
//! look at two numbers.
//!
//! ```text
//! a ──▶ b ──▶ c ──╮        chain 0: a b c
//!       ╰───▶ d ──┴▶ e     chain 1: d e, entered at d from b and at e from c
//! ```
//!
//! Owns the cut and the search over it, which goes back from chain to chain and walks none. Keeps true: an arrow leads
//! to the next of its chain, or is among what enters one.

use petgraph::Direction;
use petgraph::graph::{DiGraph, NodeIndex};
use quell_model::StepId;
use std::collections::HashMap;

/// A node's chain, and its place in it.
#[derive(Clone, Copy, Debug)]
struct Spot {
    chain: usize,
    place: usize,
}

/// See the module.
#[derive(Clone, Debug)]
pub(super) struct Chains {
    /// By node.
    spots: Vec<Spot>,
    /// Each node's place in the order.
    order: Vec<usize>,
    /// By chain: which of its places are entered from other chains, and by whom, first places first.
    entered: Vec<Vec<(usize, NodeIndex)>>,
}

impl Chains {
    /// Cuts a DAG whose nodes are given each after all that it needs.
    pub(super) fn new(dag: &DiGraph<StepId, ()>, order: &[NodeIndex]) -> Self {
        let mut spots = vec![Spot { chain: 0, place: 0 }; order.len()];
        let mut places = vec![0; order.len()];
        let mut entered: Vec<Vec<(usize, NodeIndex)>> = Vec::new();
        let mut last: Vec<NodeIndex> = Vec::new();
        for (at, node) in order.iter().enumerate() {
            places[node.index()] = at;
            let needs = || dag.neighbors_directed(*node, Direction::Incoming);
            let before = needs().find(|need| last[spots[need.index()].chain] == *need);
            let spot = match before.map(|need| spots[need.index()]) {
                Some(Spot { chain, place }) => Spot { chain, place: place + 1 },
                None => {
                    entered.push(Vec::new());
                    last.push(*node);
                    Spot { chain: last.len() - 1, place: 0 }
                }
            };
            spots[node.index()] = spot;
            last[spot.chain] = *node;
            let others = needs().filter(|need| Some(*need) != before);
            entered[spot.chain].extend(others.map(|need| (spot.place, need)));
        }
        Self { spots, order: places, entered }
    }

    /// Whether a way leads from one node to another, or they are the same.
    pub(super) fn leads(&self, from: NodeIndex, to: NodeIndex) -> bool {
        self.search(from, to).0
    }

    /// The same, and at how many nodes it looked. No arrow between chains is followed twice.
    fn search(&self, from: NodeIndex, to: NodeIndex) -> (bool, usize) {
        let goal = self.spots[from.index()];
        let mut followed: HashMap<usize, usize> = HashMap::new();
        let (mut open, mut count) = (vec![to], 0);
        while let Some(node) = open.pop() {
            count += 1;
            let Spot { chain, place } = self.spots[node.index()];
            if chain == goal.chain && place >= goal.place {
                return (true, count);
            }
            let entered = &self.entered[chain];
            let end = entered.partition_point(|(at, _)| *at <= place);
            let done = followed.entry(chain).or_default();
            let new = entered.get(*done..end).unwrap_or_default();
            *done = end.max(*done);
            // No way leads from the goal to who comes before it in the order.
            open.extend(new.iter().map(|(_, need)| *need).filter(|need| self.order(*need) >= self.order(from)));
        }
        (false, count)
    }

    fn order(&self, node: NodeIndex) -> usize {
        self.order[node.index()]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A trunk of so many steps, and beside it as long a branch that leaves it at its middle.
    fn forked(length: usize) -> (Chains, Vec<NodeIndex>, Vec<NodeIndex>) {
        let mut dag = DiGraph::new();
        let mut row = |name: &str| -> Vec<NodeIndex> {
            let nodes: Vec<NodeIndex> =
                (0..length).map(|at| dag.add_node(StepId::from(format!("{name}{at}").as_str()))).collect();
            nodes.windows(2).for_each(|two| {
                dag.add_edge(two[0], two[1], ());
            });
            nodes
        };
        let (trunk, branch) = (row("trunk"), row("branch"));
        dag.add_edge(trunk[length / 2], branch[0], ());
        let order: Vec<NodeIndex> = trunk.iter().chain(&branch).copied().collect();
        (Chains::new(&dag, &order), trunk, branch)
    }

    #[test]
    fn however_long_two_chains_are_a_few_looks_say_whether_one_leads_to_the_other() {
        let (chains, trunk, branch) = forked(10_000);
        for (from, to, leads) in [
            (trunk[0], trunk[9_999], true),
            (trunk[9_999], trunk[0], false),
            (trunk[5_000], branch[9_999], true),
            (trunk[5_001], branch[9_999], false),
            (branch[0], trunk[9_999], false),
            (branch[1], branch[9_999], true),
        ] {
            let (found, looks) = chains.search(from, to);
            assert_eq!(found, leads, "{from:?} to {to:?}");
            assert!(looks <= 2, "{looks} looks");
        }
    }
}

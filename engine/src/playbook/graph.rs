//! The DAG of a playbook: its order, who needs whom, cycles, and its drawings.
//!
//! ```text
//! playbook ──▶ Graph ──┬─▶ drawing: text for the terminal
//!   run ──▶ Fates ─────┴─▶ Picture ──▶ dot, mermaid, svg ◀── layout
//! ```
//!
//! Pure. Invariant: a [`Graph`] has no cycle, so every step has a place in the order.

mod chains;
mod dot;
mod drawing;
mod fate;
mod layout;
mod mermaid;
mod picture;
#[cfg(test)]
mod picture_tests;
mod svg;

pub use drawing::graph_text;
pub use fate::{Fate, Fates};
pub use picture::Picture;

use chains::Chains;
use petgraph::Direction;
use petgraph::algo::{tarjan_scc, toposort};
use petgraph::graph::{DiGraph, NodeIndex};
use quell_model::StepId;
use quell_model::playbook::Playbook;
use std::collections::{BTreeSet, HashMap, HashSet};

/// Steps that wait for each other: each needs the next, the last is the first again.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("steps need each other in a circle: {}", self.path())]
pub struct Cycle(pub Vec<StepId>);

impl Cycle {
    /// `a → b → a`.
    #[must_use]
    pub fn path(&self) -> String {
        self.0.iter().map(StepId::as_str).collect::<Vec<_>>().join(" → ")
    }
}

/// The DAG.
#[derive(Clone, Debug)]
pub struct Graph {
    dag: DiGraph<StepId, ()>,
    index: HashMap<StepId, NodeIndex>,
    order: Vec<NodeIndex>,
    chains: Chains,
}

impl Graph {
    /// The graph of a playbook. Needs that name no step are left out: the check has told them.
    pub fn new(playbook: &Playbook) -> Result<Self, Cycle> {
        Self::of(playbook.steps.iter().map(|step| (&step.id, step.needs.as_slice())))
            .map_err(|mut cycles| cycles.swap_remove(0))
    }

    /// The graph of steps with their needs; all cycles if there are any.
    pub(crate) fn of<'a>(steps: impl Iterator<Item = (&'a StepId, &'a [StepId])> + Clone) -> Result<Self, Vec<Cycle>> {
        let mut dag = DiGraph::new();
        let mut index = HashMap::new();
        for (id, _) in steps.clone() {
            index.entry(id.clone()).or_insert_with(|| dag.add_node(id.clone()));
        }
        let mut drawn = HashSet::new();
        for (id, needs) in steps {
            let arrows = needs.iter().filter_map(|need| Some((*index.get(need)?, index[id])));
            for (from, to) in arrows {
                // Looked up here: petgraph walks through all arrows of a step for it.
                if drawn.insert((from, to)) {
                    dag.add_edge(from, to, ());
                }
            }
        }
        let cycles: Vec<Cycle> = tarjan_scc(&dag).into_iter().filter_map(|part| cycle(&dag, &part)).collect();
        if !cycles.is_empty() {
            return Err(cycles);
        }
        let order = in_file_order(&dag, toposort(&dag, None).unwrap_or_default().len());
        let chains = Chains::new(&dag, &order);
        Ok(Self { dag, index, order, chains })
    }

    /// Every step after all that it needs; else in the order of the file.
    pub fn order(&self) -> impl Iterator<Item = &StepId> {
        self.order.iter().map(|at| &self.dag[*at])
    }

    /// The steps that need this one directly, in the order of the file.
    pub fn dependents(&self, id: &StepId) -> Vec<&StepId> {
        self.neighbours(id, Direction::Outgoing)
    }

    /// The steps that this one needs directly, in the order of the file.
    pub fn needs(&self, id: &StepId) -> Vec<&StepId> {
        self.neighbours(id, Direction::Incoming)
    }

    /// Whether a step must have ended before another starts.
    #[must_use]
    pub fn is_ancestor(&self, earlier: &StepId, of: &StepId) -> bool {
        let (Some(goal), Some(from)) = (self.index.get(earlier), self.index.get(of)) else { return false };
        goal != from && self.chains.leads(*goal, *from)
    }

    fn neighbours(&self, id: &StepId, way: Direction) -> Vec<&StepId> {
        let Some(at) = self.index.get(id) else { return Vec::new() };
        let mut all: Vec<NodeIndex> = self.dag.neighbors_directed(*at, way).collect();
        all.sort();
        all.into_iter().map(|at| &self.dag[at]).collect()
    }
}

/// Kahn's order with the file's as the tie-break, so that a drawing reads as the file does.
fn in_file_order(dag: &DiGraph<StepId, ()>, count: usize) -> Vec<NodeIndex> {
    let mut waits: HashMap<NodeIndex, usize> =
        dag.node_indices().map(|at| (at, dag.neighbors_directed(at, Direction::Incoming).count())).collect();
    let mut ready: BTreeSet<NodeIndex> = waits.iter().filter(|(_, n)| **n == 0).map(|(at, _)| *at).collect();
    let mut order = Vec::with_capacity(count);
    while let Some(at) = ready.pop_first() {
        order.push(at);
        for next in dag.neighbors_directed(at, Direction::Outgoing) {
            let left = waits.entry(next).or_default();
            *left -= 1;
            if *left == 0 {
                ready.insert(next);
            }
        }
    }
    order
}

/// A circle within a strongly connected part, from its first step in the file, along `needs`.
fn cycle(dag: &DiGraph<StepId, ()>, part: &[NodeIndex]) -> Option<Cycle> {
    let start = *part.iter().min()?;
    if part.len() == 1 {
        return dag.contains_edge(start, start).then(|| Cycle(vec![dag[start].clone(), dag[start].clone()]));
    }
    let inside: BTreeSet<NodeIndex> = part.iter().copied().collect();
    let mut came: HashMap<NodeIndex, NodeIndex> = HashMap::new();
    let mut open = std::collections::VecDeque::from([start]);
    while let Some(at) = open.pop_front() {
        let mut needs: Vec<NodeIndex> = dag.neighbors_directed(at, Direction::Incoming).collect();
        needs.sort();
        for need in needs.into_iter().filter(|need| inside.contains(need)) {
            if need == start {
                // From `at` back to the start, the way that the search came.
                let mut path = vec![start];
                let mut back = at;
                while back != start {
                    path.push(back);
                    back = *came.get(&back)?;
                }
                path.push(start);
                path.reverse();
                return Some(Cycle(path.into_iter().map(|at| dag[at].clone()).collect()));
            }
            came.entry(need).or_insert_with(|| {
                open.push_back(need);
                at
            });
        }
    }
    None
}

/// The moments of incidents that start a playbook, for people.
#[must_use]
pub fn moments(playbook: &Playbook) -> Option<String> {
    let words: Vec<&str> = playbook.on.incident.iter().map(|moment| moment.as_str()).collect();
    (!words.is_empty()).then(|| format!("incident {}", words.join(", ")))
}

#[cfg(test)]
mod tests;

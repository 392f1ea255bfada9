//! The crew: the verbs that an engine can reach, and the world that they were built for.
//!
//! Invariant: what an engine can touch is what it was built with. `Crew<Live>` is built in src/daemon only.

use crate::action::{Action, ActionSpec, Look};
use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

/// The real world.
#[derive(Debug)]
pub struct Live;
/// A cgroup, namespace and root of its own.
#[derive(Debug)]
pub struct Sandbox;
/// No world at all: predictions only.
#[derive(Debug)]
pub struct Replay;

/// One verb, of either kind.
#[derive(Clone)]
pub enum Verb {
    /// Changes the world.
    Acts(Arc<dyn Action>),
    /// Reads it.
    Looks(Arc<dyn Look>),
}

impl Verb {
    /// What it is.
    #[must_use]
    pub fn spec(&self) -> &'static ActionSpec {
        match self {
            Self::Acts(action) => action.spec(),
            Self::Looks(look) => look.spec(),
        }
    }
}

impl fmt::Debug for Verb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.spec().name)
    }
}

/// All verbs of a world, by name.
#[derive(Debug)]
pub struct Crew<W> {
    verbs: BTreeMap<&'static str, Verb>,
    world: PhantomData<W>,
}

impl<W> Clone for Crew<W> {
    fn clone(&self) -> Self {
        Self { verbs: self.verbs.clone(), world: PhantomData }
    }
}

impl<W> Crew<W> {
    /// A crew of these; of two with one name the later stays.
    #[must_use]
    pub fn new(verbs: Vec<Verb>) -> Self {
        Self { verbs: verbs.into_iter().map(|verb| (verb.spec().name, verb)).collect(), world: PhantomData }
    }

    /// The verb of this name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Verb> {
        self.verbs.get(name)
    }

    /// What this crew can do, by name.
    pub fn specs(&self) -> impl Iterator<Item = &'static ActionSpec> {
        self.verbs.values().map(Verb::spec)
    }
}

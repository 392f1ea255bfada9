//! Files that people write → models. The only part of the engine that reads definitions.
//!
//! ```text
//! YAML ────yaml──▶ tree with places ──reader──▶ draft ──playbook::check──▶ model
//! Rhai ──script──▶                    │                     │
//!                                     └──── mistakes ◀──────┘   all of them, each with line and column
//! ```
//!
//! Invariants: a file with an error gives nothing, never half of something; a file that others than root or the one who
//! runs quell can write is not loaded.

mod address;
pub mod config;
pub(crate) mod escalate;
pub mod escalation;
pub(crate) mod files;
pub(crate) mod found;
mod mounted;
pub(crate) mod playbook;
mod playbooks;
pub(crate) mod question;
pub(crate) mod raw;
pub(crate) mod reader;
mod schema;
pub(crate) mod script;
mod secret;
pub(crate) mod secret_place;
pub(crate) mod step;
pub(crate) mod sub;
mod tags;
pub(crate) mod trigger;
pub mod units;
pub(crate) mod wait;
mod written;
pub(crate) mod yaml;

pub use config::{
    Ages, Config, Kubernetes, Listen, Log, LogFormat, LogLevel, NAMESPACES, Permission, Roles, Shown, Tls, Token,
    WebhookSource, config, config_file, socket_fits,
};
pub use escalation::{escalation, escalation_file};
pub(crate) use files::read as text;
pub use files::trusted;
pub use playbook::playbook;
pub use playbooks::{PlaybookSource, playbooks};
pub(crate) use playbooks::{line_of, name_line};
pub use schema::{config_schema, escalation_schema, playbook_schema};
pub use secret::SecretFrom;
pub use written::yaml as playbook_yaml;

use crate::escalation::channels::Channels;
use crate::playbook::gives::{self, Gives};
use quell_model::hosts::AllowedHost;
use quell_model::playbook::Playbook;
use quell_model::{ActionSpec, Class, Json, Name, People, RuleRef};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// What playbooks are held against.
#[derive(Clone, Debug, Default)]
pub struct Known<'a> {
    /// The actions of this build.
    pub actions: Vec<&'static ActionSpec>,
    /// The rules that are loaded; none: rules are not checked.
    pub rules: Option<&'a [RuleRef]>,
    /// The classes of the events that rules match, by name; of those that are not in it nobody knows.
    pub brings: BTreeMap<Name, BTreeSet<Class>>,
    /// `vars` of quell.yaml; none: `vars` are not checked.
    pub vars: Option<&'a Json>,
    /// `secrets` of quell.yaml; none: their names are not checked.
    pub secrets: Option<&'a BTreeMap<Name, SecretFrom>>,
    /// Who is who; none: names of people and approvers are not checked. Nobody in it: there is no escalation.yaml.
    pub people: Option<&'a People>,
    /// The channels of escalation.yaml; none: what sends by them is not checked.
    pub channels: Option<&'a Channels>,
    /// The hosts that quell.yaml allows; none: addresses are not checked.
    pub hosts: Option<&'a [AllowedHost]>,
    /// Why there is no cluster to act in, where it is known that there is none.
    pub no_cluster: Option<&'a str>,
    /// Whether a token of quell.yaml speaks for a person.
    pub personal_tokens: bool,
    /// What people in tests may have as roles; none: those that quell brings.
    pub roles: Option<&'a Roles>,
    /// Playbooks that steps may start besides those that are read.
    pub playbooks: &'a [Arc<Playbook>],
    /// What those give that are read together: [`playbooks()`] says so itself.
    pub outputs: BTreeMap<Name, Vec<String>>,
}

impl Known<'_> {
    /// The action of this name.
    #[must_use]
    pub fn action(&self, name: &str) -> Option<&'static ActionSpec> {
        self.actions.iter().copied().find(|spec| spec.name == name)
    }
}

impl Gives for Known<'_> {
    fn of_action(&self, action: &str) -> Option<Vec<String>> {
        gives::declared(self.action(action)?)
    }

    fn of_playbook(&self, playbook: &str) -> Option<Vec<String>> {
        let other = || self.playbooks.iter().find(|other| other.name.as_str() == playbook);
        let of_other = || Some(other()?.outputs.keys().cloned().collect());
        self.outputs.get(&Name::from(playbook)).cloned().or_else(of_other)
    }
}

#[cfg(test)]
pub(crate) mod tests;

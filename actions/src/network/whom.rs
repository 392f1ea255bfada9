//! Whom an input of both verbs names: a process, a cgroup, a container or a pod.
//!
//! Reads only. Keeps true: it is one of them, and what it means is the same whichever verb is asked.

use super::home::Home;
use crate::process::Hands;
use crate::process::scope::Scope;
use quell_model::{ActionError, ProcessId};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A pod, as an event or a person names it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Pod {
    /// Its uid.
    Uid(String),
    /// An object with its `uid`, as `event.pod` is; what else it has is passed over.
    Of {
        /// Its uid.
        uid: String,
    },
}

impl Pod {
    fn uid(&self) -> &str {
        match self {
            Self::Uid(uid) | Self::Of { uid } => uid,
        }
    }
}

/// What an input names, as it is written there.
pub(super) struct Whom<'i> {
    pub(super) process: Option<&'i ProcessId>,
    /// How far it reaches around `process`.
    pub(super) scope: Scope,
    pub(super) cgroup: Option<&'i str>,
    pub(super) container: Option<&'i str>,
    pub(super) pod: Option<&'i Pod>,
}

impl Whom<'_> {
    /// The cgroup that is meant.
    ///
    /// # Errors
    /// None of them is named, or more than one, or it is not there.
    pub(super) async fn home(self, hands: &Hands) -> Result<Home, ActionError> {
        match (self.process, self.cgroup, self.container, self.pod) {
            (Some(id), None, None, None) => Home::around(hands, id, self.scope).await,
            (None, Some(path), None, None) => Home::at(hands, path).await,
            (None, None, Some(id), None) => Home::container(hands, id).await,
            (None, None, None, Some(pod)) => Home::pod(hands, pod.uid()).await?.ok_or_else(|| ActionError::GiveUp {
                why: format!("no v2 cgroup is called after the pod `{}`", pod.uid()),
                hint: Some("it is not on this node, or has ended: `event.pod.uid` is its uid".to_owned()),
            }),
            _ => Err(ActionError::give_up("name a `process`, a `cgroup`, a `container` or a `pod`, one of them")),
        }
    }
}

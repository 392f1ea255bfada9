//! A webhook: an address to which others bring events.
//!
//! Owns the shape, and what its events are called. Keeps true: whoever brings events that may make quell act has proved who they are.

use super::Tls;
use crate::adapt::Format;
use quell_model::Name;
use std::net::SocketAddr;

/// See the module.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct WebhookSource {
    /// Unique among the webhooks.
    pub name: Name,
    /// How what is brought is written.
    pub format: Format,
    /// Where. A port of 0 is one that the system chooses.
    pub address: SocketAddr,
    /// Without it only the loopback is listened at.
    pub tls: Option<Tls>,
    /// The secret that whoever comes has to have; none: anybody may come.
    pub token: Option<Name>,
    /// Whether only the system has the token. What is not trusted never acts.
    pub trusted: bool,
}

impl WebhookSource {
    /// What its events are called.
    #[must_use]
    pub fn source(&self) -> Name {
        format!("{}{}", Self::PREFIX, self.name).into()
    }

    /// What the names of all events begin with that somebody brought: of files and the sensor none does.
    pub const PREFIX: &'static str = "webhook:";
}

//! Foreign records → events: one file a format, and the choice between them.
//!
//! Owns what a record of each format means (its time, its subject, its logsource). A record keeps its own field names,
//! because Sigma's rules are written in them. What cannot be read is given back with its place and its bytes, counted,
//! and the rest goes on. Reads no clock and touches no file: bytes come in, events go out.

mod auditd;
mod cloudtrail;
mod cut;
mod items;
mod kubernetes;
mod lines;
mod outside;
mod plain;
mod reader;
mod record;
mod recorded;
mod recording;
mod weight;

#[cfg(test)]
mod tests;

pub use lines::{LARGEST_DOCUMENT, LARGEST_EVENT};
pub use reader::{Events, Unreadable, brought, read, unpacked};
pub(crate) use reader::{GZIP, read_part};
pub use weight::weight;

use quell_model::Json;
use std::fmt;
use std::str::FromStr;

/// A known format.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Format {
    /// quell's own recordings: an event a line, or the flight recorder's pages.
    Recording,
    /// CloudTrail: a record, a list of them, or `{"Records": []}`.
    CloudTrail,
    /// Kubernetes audit: an event, a list of them, or an `EventList`.
    KubernetesAudit,
    /// auditd's log: `type=… msg=audit(…): …`, raw or enriched.
    Auditd,
    /// Objects under Sigma's field names.
    Plain,
}

impl Format {
    /// All formats.
    pub const ALL: [Self; 5] = [Self::Recording, Self::CloudTrail, Self::KubernetesAudit, Self::Auditd, Self::Plain];

    /// The word on the command line.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Recording => "recording",
            Self::CloudTrail => "cloudtrail",
            Self::KubernetesAudit => "kubernetes-audit",
            Self::Auditd => "auditd",
            Self::Plain => "plain",
        }
    }

    /// What a JSON object looks like. Anything is at least plain.
    fn of(object: &serde_json::Map<String, Json>) -> Self {
        let has = |key: &str| object.contains_key(key);
        if has("v") && has("class") && has("sigma") && has("own") {
            Self::Recording
        } else if has("eventSource") && has("eventName") {
            Self::CloudTrail
        } else if has("auditID") && has("verb") {
            Self::KubernetesAudit
        } else {
            Self::Plain
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Format {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL.into_iter().find(|format| format.as_str() == text).ok_or_else(|| {
            let known: Vec<&str> = Self::ALL.iter().map(|format| format.as_str()).collect();
            format!("`{text}` is no format; expected {}", known.join(", "))
        })
    }
}

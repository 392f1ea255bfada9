//! The identity of a process: never a bare pid.
//!
//! (boot id, pid in the init namespace, start time) names a process for good; the exec id names the image within it.
//! The text form is what playbooks pass around: `4242.81234567890.2@1f2e3d4c-…`.

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// The kernel's random id of this boot (`/proc/sys/kernel/random/boot_id`).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct BootId(pub Arc<str>);

/// Nanoseconds in a clock tick of /proc (USER_HZ is 100 on every Linux that quell runs on).
pub const TICK_NS: u64 = 10_000_000;

/// One process, and one image in it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProcessId {
    /// Which boot.
    pub boot: BootId,
    /// The thread group id in the initial pid namespace.
    pub pid: u32,
    /// `start_boottime` in nanoseconds; a scan of /proc knows it to a tick only, rounded down.
    pub start_ns: u64,
    /// Grows by one at each exec of the process; 0 when not known.
    pub exec_id: u32,
}

impl ProcessId {
    /// The start time in the ticks that `/proc/PID/stat` shows (field 22).
    #[must_use]
    pub fn start_ticks(&self) -> u64 {
        self.start_ns / TICK_NS
    }

    /// Whether both name one process, whatever image it runs.
    #[must_use]
    pub fn same_process(&self, other: &Self) -> bool {
        self.pid == other.pid && self.start_ticks() == other.start_ticks() && self.boot == other.boot
    }
}

impl fmt::Display for ProcessId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}@{}", self.pid, self.start_ns, self.exec_id, self.boot.0)
    }
}

impl fmt::Debug for ProcessId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// The text is no process identity.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no process identity; expected `PID.START_NS.EXEC@BOOT`, as `event.process.id` gives it")]
pub struct NotAProcess(pub String);

impl FromStr for ProcessId {
    type Err = NotAProcess;

    fn from_str(text: &str) -> Result<Self, NotAProcess> {
        let wrong = || NotAProcess(text.chars().take(120).collect());
        let (numbers, boot) = text.split_once('@').ok_or_else(wrong)?;
        let mut parts = numbers.split('.');
        let mut number = || parts.next().and_then(|p| p.parse::<u64>().ok()).ok_or_else(wrong);
        let (pid, start_ns, exec) = (number()?, number()?, number()?);
        if parts.next().is_some() || boot.is_empty() {
            return Err(wrong());
        }
        Ok(Self {
            boot: BootId(Arc::from(boot)),
            pid: u32::try_from(pid).map_err(|_| wrong())?,
            start_ns,
            exec_id: u32::try_from(exec).map_err(|_| wrong())?,
        })
    }
}

impl Serialize for ProcessId {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ProcessId {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

impl JsonSchema for ProcessId {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "ProcessId".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": "string", "pattern": r"^\d+\.\d+\.\d+@.+$", "description": "a process identity: `event.process.id`" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_goes_there_and_back() {
        let text = "42.81234567890.2@1f2e-3d";
        assert_eq!(text.parse::<ProcessId>().map(|id| id.to_string()), Ok(text.to_owned()));
    }

    #[test]
    fn a_bare_pid_is_refused() {
        for text in ["42", "42@x", "42.1@x", "42.1.1@", "-1.2.3@x", "42.1.1.1@x", ""] {
            assert!(text.parse::<ProcessId>().is_err(), "{text}");
        }
    }
}

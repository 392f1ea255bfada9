//! Why there is no sensor, each with what to do about it.

use crate::watch::WatchError;
use std::io;
use thiserror::Error;

/// The sensor cannot run here.
#[derive(Debug, Error)]
pub enum SensorError {
    /// The caller may not use BPF.
    #[error(
        "the sensor needs root, or CAP_BPF and CAP_PERFMON; hint: run as root, or give the service `AmbientCapabilities=CAP_BPF CAP_PERFMON`"
    )]
    NotPermitted,
    /// The kernel has no type information.
    #[error(
        "the kernel has no BTF at /sys/kernel/btf/vmlinux: {why}; hint: a kernel with CONFIG_DEBUG_INFO_BTF=y (Debian 11, Ubuntu 20.10, RHEL 8.2 and later have it)"
    )]
    NoBtf {
        /// What reading it said.
        why: String,
    },
    /// The kernel is too old.
    #[error("the sensor needs Linux 5.8, this is {release}; hint: what it lacks is the BPF ring buffer")]
    TooOld {
        /// `uname -r`.
        release: String,
    },
    /// The kernel refused the object or its maps.
    #[error("the kernel refused the sensor's maps: {why}; hint: {hint}")]
    MapsRefused {
        /// What it said.
        why: String,
        /// What to do.
        hint: &'static str,
    },
    /// The kernel refused a program that the sensor cannot do without.
    #[error("the kernel refused probe `{probe}`: {why}; hint: {hint}")]
    ProbeRefused {
        /// Its name in the probe table.
        probe: &'static str,
        /// The verifier's last line, or the error.
        why: String,
        /// What to do.
        hint: &'static str,
    },
    /// What to watch makes no sense.
    #[error(transparent)]
    Watch(#[from] WatchError),
    /// The thread could not be started.
    #[error("cannot start the sensor's thread")]
    Thread(#[source] io::Error),
}

pub(crate) const HINT_LOCKDOWN: &str =
    "see `cat /sys/kernel/security/lockdown`: confidentiality forbids BPF, integrity does not";
pub(crate) const HINT_VERIFIER: &str =
    "this kernel's verifier is not known to quell: please report the line with `uname -r`";

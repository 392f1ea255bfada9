//! What of root quell needs, what for, and what is lost without it: the one list that `quell doctor` asks and that the
//! service's unit is held against.
//!
//! Reads this process's own set, never changes it. Keeps true: what a verb declares is here too.

use rustix::thread::CapabilitySet;

/// One capability (capabilities(7)).
#[derive(Debug)]
pub(crate) struct Capability {
    /// Its name, as units and `setpriv` know it.
    pub(crate) name: &'static str,
    bit: CapabilitySet,
    /// What it is needed for, in a few words.
    pub(crate) need: &'static str,
    /// What works without it.
    pub(crate) works: &'static str,
}

/// All that quell needs, in the order of the unit.
pub(crate) const NEEDED: [Capability; 10] = [
    Capability {
        name: "CAP_BPF",
        bit: CapabilitySet::BPF,
        need: "load what sees and what acts in the kernel",
        works: "recordings, rules and playbooks; nothing is seen live",
    },
    Capability {
        name: "CAP_PERFMON",
        bit: CapabilitySet::PERFMON,
        need: "read the kernel's memory in what is loaded",
        works: "recordings, rules and playbooks; nothing is seen live",
    },
    Capability {
        name: "CAP_SYS_ADMIN",
        bit: CapabilitySet::SYS_ADMIN,
        need: "keep scripts from starting, by fanotify, and end sockets in other network namespaces",
        works: "everything but network.isolate of containers, and process.block_exec for scripts where the kernel has no LSM for it",
    },
    Capability {
        name: "CAP_NET_ADMIN",
        bit: CapabilitySet::NET_ADMIN,
        need: "cut off cgroups from the network, and end their sockets",
        works: "everything but network.isolate and network.block_peer",
    },
    Capability {
        name: "CAP_KILL",
        bit: CapabilitySet::KILL,
        need: "freeze and kill processes of every user",
        works: "acts on processes of the same user",
    },
    Capability {
        name: "CAP_SYS_PTRACE",
        bit: CapabilitySet::SYS_PTRACE,
        need: "read what processes run, have open and hold in memory",
        works: "acts on processes of the same user",
    },
    Capability {
        name: "CAP_DAC_READ_SEARCH",
        bit: CapabilitySet::DAC_READ_SEARCH,
        need: "copy files that only their owner may read, and find a cgroup by its number",
        works: "evidence without them; cgroups are found by a walk",
    },
    Capability {
        name: "CAP_DAC_OVERRIDE",
        bit: CapabilitySet::DAC_OVERRIDE,
        need: "freeze and kill cgroups that belong to a user's own manager",
        works: "the cgroups that root owns",
    },
    Capability {
        name: "CAP_SYS_NICE",
        bit: CapabilitySet::SYS_NICE,
        need: "real-time scheduling from the sensor to the act",
        works: "everything, later on a busy machine",
    },
    Capability {
        name: "CAP_CHOWN",
        bit: CapabilitySet::CHOWN,
        need: "give the socket to the group quell",
        works: "everything; only root may use the socket",
    },
];

/// What of it this process has not, in the same order.
///
/// # Errors
/// When the kernel does not say.
pub(crate) fn missing() -> std::io::Result<Vec<&'static Capability>> {
    Ok(missing_of(rustix::thread::capabilities(None)?.effective))
}

/// Since Linux 5.8 CAP_BPF and CAP_PERFMON are parts of CAP_SYS_ADMIN (`bpf_capable`, `perfmon_capable` in
/// include/linux/capability.h).
fn missing_of(held: CapabilitySet) -> Vec<&'static Capability> {
    let parts = CapabilitySet::BPF | CapabilitySet::PERFMON;
    let held = if held.contains(CapabilitySet::SYS_ADMIN) { held | parts } else { held };
    NEEDED.iter().filter(|one| !held.contains(one.bit)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const UNIT: &str = include_str!("../../deploy/quell.service");

    /// The words of a key of the unit, which stands there once.
    fn words(key: &str) -> Vec<&'static str> {
        let values: Vec<&str> = UNIT.lines().filter_map(|line| line.strip_prefix(key)?.strip_prefix('=')).collect();
        assert_eq!(values.len(), 1, "{key}");
        values[0].split_whitespace().collect()
    }

    #[test]
    fn the_unit_gives_what_is_needed_and_nothing_else_and_says_why() {
        let needed: Vec<&str> = NEEDED.iter().map(|one| one.name).collect();
        assert_eq!(words("CapabilityBoundingSet"), needed);
        for name in needed {
            let said = |line: &str| line.starts_with("#   CAP_") && line.contains(name);
            assert!(UNIT.lines().any(said), "{name} has no reason in the unit");
        }
    }

    #[test]
    fn the_pod_of_a_cluster_has_the_same() {
        let manifest = include_str!("../../deploy/kustomize/daemonset.yaml");
        let added = manifest.lines().find_map(|line| line.trim().strip_prefix("add: [")?.strip_suffix(']'));
        let added: Vec<String> = added.unwrap().split(", ").map(|name| format!("CAP_{name}")).collect();
        assert_eq!(added, NEEDED.iter().map(|one| one.name).collect::<Vec<_>>());
    }

    /// What systemd (252) does not count as @system-service, and quell may call; strace of `up` and `doctor` shows no other.
    #[test]
    fn the_unit_lets_through_the_calls_that_services_do_not_make() {
        let calls = ["bpf", "fanotify_init", "fanotify_mark", "open_by_handle_at"];
        let mut said = words("SystemCallFilter");
        assert_eq!(said.remove(0), "@system-service");
        assert_eq!(said, calls);
    }

    #[test]
    fn what_a_verb_declares_is_needed() {
        let declared = crate::daemon::specs().into_iter().flat_map(|spec| spec.permissions.iter().copied());
        for name in declared.filter(|name| name.starts_with("CAP_")) {
            assert!(NEEDED.iter().any(|one| one.name == name), "{name}");
        }
    }

    #[test]
    fn names_are_those_of_their_bits_and_the_old_one_holds_the_new_ones() {
        for one in &NEEDED {
            let flag = CapabilitySet::from_name(one.name.trim_start_matches("CAP_"));
            assert_eq!(flag, Some(one.bit), "{}", one.name);
        }
        let names = |held| missing_of(held).iter().map(|one| one.name).collect::<Vec<_>>();
        assert_eq!(names(CapabilitySet::all()), [""; 0]);
        assert_eq!(names(CapabilitySet::all() - CapabilitySet::BPF), [""; 0]);
        let without = CapabilitySet::all() - CapabilitySet::SYS_ADMIN;
        assert_eq!(names(without), ["CAP_SYS_ADMIN"]);
        assert_eq!(names(without - CapabilitySet::PERFMON), ["CAP_PERFMON", "CAP_SYS_ADMIN"]);
    }
}

//! `quell doctor` with the rights that the service's unit gives: nothing is less than with all of root's.

use super::{Ran, binary, quell};
use serde_json::Value;
use std::process::{Command, Stdio};

const UNIT: &str = include_str!("../../deploy/quell.service");

/// Runs `doctor` with no other capability than these (`bpf,kill`), as the unit's bounding set would.
fn doctor_with(capabilities: &[String]) -> Value {
    let set: String = capabilities.iter().map(|name| format!(",+{name}")).collect();
    let mut command = Command::new("setpriv");
    command.arg("--bounding-set").arg(format!("-all{set}")).args(["--inh-caps=-all", "--no-new-privs"]);
    command.arg(binary()).args(["doctor", "--json"]).stdin(Stdio::null());
    let ran = Ran::of(command.output().unwrap());
    assert!(matches!(ran.code, Some(0 | 4)), "{ran:?}");
    ran.json()
}

/// How each thing is, by its id.
fn states(told: &Value) -> Vec<(String, String)> {
    let text = |check: &Value, key: &str| check[key].as_str().unwrap().to_owned();
    told["checks"].as_array().unwrap().iter().map(|check| (text(check, "id"), text(check, "state"))).collect()
}

#[test]
fn the_units_capabilities_are_enough_and_one_less_is_told() {
    let try_it = Command::new("setpriv").args(["--bounding-set=-all", "true"]).stderr(Stdio::null()).status();
    if !rustix::process::geteuid().is_root() || !try_it.is_ok_and(|status| status.success()) {
        return eprintln!("NOT TESTED: the unit's capabilities: setpriv (util-linux) cannot drop them here");
    }
    let whole = quell(&["doctor", "--json"]).json();
    let line = UNIT.lines().find_map(|line| line.strip_prefix("CapabilityBoundingSet=")).unwrap();
    let names: Vec<String> = line.split(' ').map(|name| name.trim_start_matches("CAP_").to_lowercase()).collect();
    assert_eq!(states(&doctor_with(&names)), states(&whole));

    let less: Vec<String> = names.into_iter().filter(|name| name != "sys_admin").collect();
    let less = states(&doctor_with(&less));
    let state = |id: &str| less.iter().find(|(name, _)| name == id).map(|(_, state)| state.as_str());
    assert_eq!(state("CAP_SYS_ADMIN"), Some("degraded"), "{less:?}");
    let scripts = "process.block_exec for scripts";
    let by_fanotify = |check: &Value| check["id"] == scripts && check["why"] == "by fanotify";
    if whole["checks"].as_array().unwrap().iter().any(by_fanotify) {
        assert_eq!(state(scripts), Some("degraded"), "{less:?}");
    } else {
        eprintln!("NOT TESTED: scripts without CAP_SYS_ADMIN: fanotify keeps none from starting here");
    }
}

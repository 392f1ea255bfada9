//! A flood in one cgroup hides no attack in another, and the attack in the flooded one is marked degraded.

use super::attack::Attack;
use super::daemon::Daemon;
use super::load::Load;
use super::wait_for;
use serde_json::Value;

fn lost(daemon: &Daemon, class: &str) -> u64 {
    let status = daemon.ask(&["status"]).unwrap_or_default();
    let lost = status["sensor"]["lost"].as_array().cloned().unwrap_or_default();
    lost.iter().find(|one| one["id"] == class).and_then(|one| one["count"].as_u64()).unwrap_or(0)
}

#[test]
fn a_flood_in_one_cgroup_hides_no_attack_in_another_and_degrades_the_one_in_it() {
    let Some(daemon) = Daemon::start("flood") else { return };
    let (noisy, calm) = (daemon.inside.below("noisy"), daemon.inside.below("calm"));
    let before = Attack::start(&calm).contained(&daemon);
    let loads = ["opens", "connects", "execs", "opens"].map(|what| Load::start(&noisy, what, 0));
    // It is held down, and that is counted.
    wait_for("losses of file events", || (lost(&daemon, "file_event") > 0).then_some(()));

    let in_flood = Attack::start(&noisy);
    let beside = Attack::start(&calm);
    let (in_flood, beside) = (in_flood.contained(&daemon), beside.contained(&daemon));
    let degraded = wait_for("the mark on the flooded incident", || {
        daemon.incident(&noisy).filter(|incident| incident["degraded"] == true)
    });
    let clean = daemon.incident(&calm).unwrap();
    assert_eq!(clean["degraded"], false, "{clean}");
    let runs = |incident: &Value| incident["runs"].to_string();
    assert!(runs(&degraded).contains(in_flood["id"].as_str().unwrap()), "{degraded}");
    assert!(
        runs(&clean).contains(beside["id"].as_str().unwrap()) && runs(&clean).contains(before["id"].as_str().unwrap())
    );

    let id = degraded["id"].as_str().unwrap();
    let whole = daemon.ask(&["incident", "show", id]).unwrap();
    let losses = whole["losses"].as_array().unwrap();
    assert!(losses.iter().all(|loss| loss["path"] == noisy.path.as_str()), "{losses:?}");
    // Which of the two bounds held it depends on how fast this machine reads.
    assert!(losses.iter().all(|loss| loss["why"] == "cgroup_budget" || loss["why"] == "cgroup_share"), "{losses:?}");
    let held = losses.iter().filter(|loss| loss["class"] == "file_event");
    assert!(held.filter_map(|loss| loss["count"].as_u64()).sum::<u64>() > 0, "{losses:?}");
    assert_eq!(daemon.ask(&["incident", "explain", id]).unwrap()["lost"].as_array().map(Vec::len), Some(losses.len()));
    assert!(daemon.ask(&["status"]).unwrap()["incidents_degraded"].as_u64() > Some(0));

    // The flood itself was nobody's target.
    loads.iter().for_each(Load::enough);
    let done: Vec<u64> = loads.into_iter().map(Load::done).collect();
    assert!(done.iter().all(|done| *done > 0), "{done:?}");
}

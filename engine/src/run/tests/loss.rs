//! Losses and the incidents that they may concern.

use super::*;
use quell_model::record::LossSeen;

fn lost(cgroup: Option<u64>) -> LossSeen {
    let (class, path, since) = (Some(Class::FileEvent), None, None);
    LossSeen { class, count: 3, cgroup, path, since, why: "cgroup_share".to_owned() }
}

/// A detection about a process in a cgroup, on an entity of its own.
fn detection_in(cgroup: u64) -> Detection {
    let mut found = detection(&cgroup.to_string(), 1);
    let event = Arc::make_mut(&mut found.event);
    event.own["process"]["cgroup"] = cgroup.into();
    event.entity.id = cgroup.to_string().into();
    found
}

impl Stage {
    fn losses(&self, stream: &StreamId) -> Vec<LossSeen> {
        let records = self.journal.read(stream, 1).unwrap();
        records.into_iter().filter_map(|r| if let Body::LossSeen(loss) = r.body { Some(*loss) } else { None }).collect()
    }

    /// How many losses stand in the incident about a cgroup.
    fn of(&self, cgroup: u64) -> usize {
        let streams = self.journal.streams().unwrap().into_iter().map(|(stream, _)| stream);
        let about = |stream: &StreamId| {
            let first = self.journal.read(stream, 1).unwrap().swap_remove(0);
            matches!(&first.body, Body::IncidentOpened(opened) if opened.entity.id.as_str() == cgroup.to_string())
        };
        let mut incidents = streams.filter(|stream| stream.as_incident().is_some()).filter(about);
        incidents.next().map_or(0, |stream| self.losses(&stream).len())
    }
}

#[test]
fn a_loss_degrades_the_incidents_that_it_may_concern_and_no_others() {
    let mut stage = stage(World::default(), playbook_of(vec![step("tell", &[])]));
    stage.core.detections([detection_in(7), detection_in(8)]);
    let now = SystemClock.now();
    stage.core.loss(lost(Some(7)), now);
    assert_eq!((stage.of(7), stage.of(8)), (1, 0));
    assert_eq!(stage.core.serve(Request::Status).unwrap()["incidents_degraded"], 1);
    stage.core.loss(lost(Some(9)), now);
    assert_eq!((stage.of(7), stage.of(8)), (1, 0));
    stage.core.loss(lost(Some(0)), now);
    assert_eq!((stage.of(7), stage.of(8)), (2, 1), "it may have been anybody's");
    stage.settle();
}

#[test]
fn what_was_lost_shortly_before_an_incident_opens_may_be_a_part_of_it() {
    let mut stage = stage(World::default(), playbook_of(vec![step("tell", &[])]));
    let now = SystemClock.now();
    stage.core.loss(lost(Some(7)), now);
    stage.core.loss(lost(Some(7)), now);
    stage.core.loss(lost(Some(8)), now);
    stage.core.detections([detection_in(7)]);
    let system = stage.losses(&StreamId::system());
    assert_eq!(system.iter().map(|loss| loss.count).sum::<u64>(), 9, "all that waited was told: {system:?}");
    assert_eq!(stage.of(7), 1);
    stage.settle();
}

#[test]
fn a_long_flood_is_few_records_and_nothing_is_lost_with_the_end() {
    let mut stage = stage(World::default(), playbook_of(vec![step("tell", &[])]));
    stage.core.detections([detection_in(7)]);
    let begun = SystemClock.now();
    for tick in 0..20_000 {
        stage.core.loss(lost(Some(7)), begun.after(Duration::from_millis(tick)));
    }
    stage.settle();
    let Stage { core, journal, dir, .. } = stage;
    drop(core);
    let records = journal.read(&StreamId::system(), 1).unwrap();
    let counts =
        records.iter().filter_map(|r| if let Body::LossSeen(loss) = &r.body { Some(loss.count) } else { None });
    let counts: Vec<u64> = counts.collect();
    assert_eq!(counts.iter().sum::<u64>(), 60_000);
    assert!(counts.len() < 10, "{counts:?}");
    drop(dir);
}

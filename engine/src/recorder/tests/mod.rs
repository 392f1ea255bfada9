//! Events to record, made by hand.

mod copy;
mod format;
mod keep;
mod ring;

use quell_model::event::EVENT_VERSION;
use quell_model::{
    BootId, Class, Entity, Event, EventHead, Field, Json, LogSource, OwnedEvent, ProcessId, Stamp, Subject, Teller,
    Token, Told,
};
use serde_json::json;
use std::time::Duration;

pub(super) const BOOT: &str = "1f2e3d4c-0000-4000-8000-000000000001";

/// A moment, in ms after the first.
pub(super) fn at(ms: u64) -> Stamp {
    let wall: jiff::Timestamp = "2026-11-28T12:00:00Z".parse().unwrap();
    Stamp { wall, boot_ns: 3_600_000_000_000 }.after(Duration::from_millis(ms))
}

pub(super) fn id(pid: u32) -> ProcessId {
    ProcessId { boot: BootId(BOOT.into()), pid, start_ns: u64::from(pid) * 20_000_000, exec_id: 1 }
}

fn map(json: Json) -> serde_json::Map<String, Json> {
    json.as_object().unwrap().clone()
}

/// A process that executed something, with its line of ancestors, nearest first.
pub(super) fn exec(pid: u32, image: &str, line: &[(u32, &str)], ms: u64) -> OwnedEvent {
    let above = |(pid, image): &(u32, &str)| json!({ "id": id(*pid), "pid": pid, "image": image });
    let ancestors: Vec<Json> = line.iter().map(above).collect();
    let when = at(ms);
    OwnedEvent {
        v: EVENT_VERSION,
        head: EventHead {
            id: format!("e-1f2e3d4c-{:x}-{pid:x}b", when.boot_ns).into(),
            class: Class::ProcessCreation,
            source: "sensor".into(),
            node: "n1".into(),
            at: when,
            seen: when.after(Duration::from_micros(300)),
        },
        logsource: LogSource {
            category: Some("process_creation".into()),
            product: Some("linux".into()),
            service: None,
        },
        sigma: map(json!({ "Image": image, "CommandLine": format!("{image} -x"), "User": "root", "ProcessId": pid })),
        own: map(json!({ "process": {
            "id": id(pid), "pid": pid, "image": image, "command_line": format!("{image} -x"), "uid": 0,
            "parent": ancestors.first(), "ancestors": ancestors,
        } })),
        subject: Subject::Process(id(pid)),
        entity: Entity { kind: "session".into(), id: "7".into(), node: "n1".into() },
    }
}

/// The same event, told as the sensor tells: in shared parts, with processes and moments as what they are.
pub(super) struct AsSeen(pub(super) OwnedEvent, pub(super) u64);

impl Event for AsSeen {
    fn head(&self) -> &EventHead {
        self.0.head()
    }
    fn logsource(&self) -> &LogSource {
        self.0.logsource()
    }
    fn sigma(&self, field: &str) -> Option<Field<'_>> {
        self.0.sigma(field)
    }
    fn own(&self, path: &str) -> Option<Field<'_>> {
        self.0.own(path)
    }
    fn sigma_fields(&self, each: &mut dyn FnMut(&str, Field<'_>)) {
        self.0.sigma_fields(each);
    }
    fn subject(&self) -> Subject {
        self.0.subject()
    }
    fn entity(&self) -> Entity {
        self.0.entity()
    }
    fn to_owned(&self) -> OwnedEvent {
        let mut event = self.0.clone();
        let start = Told::Moment(self.1).to_json(event.head.at);
        event.own["process"].as_object_mut().unwrap().insert("start".into(), start);
        event
    }
    fn tell(&self, to: &mut dyn Teller) {
        let process = self.0.own["process"].as_object().unwrap();
        to.shared(Token::new(1).with_text(self.0.sigma["Image"].as_str().unwrap()), &mut |to| {
            for name in ["Image", "CommandLine", "User"] {
                to.sigma(name, Told::from_json(&self.0.sigma[name]));
            }
            for name in ["image", "command_line", "uid"] {
                to.own(&format!("process.{name}"), Told::from_json(&process[name]));
            }
            to.entity(self.0.entity.kind.as_str(), self.0.entity.id.as_str(), self.0.entity.node.as_str());
        });
        to.sigma("ProcessId", Told::from_json(&process["pid"]));
        if let Subject::Process(id) = self.0.subject() {
            to.own("process.id", Told::Process(id));
        }
        to.own("process.pid", Told::from_json(&process["pid"]));
        to.own("process.start", Told::Moment(self.1));
        let line = Token::new(2).with_text(&process["ancestors"].to_string());
        to.shared(line, &mut |to| {
            to.own("process.parent", Told::from_json(&process["parent"]));
            to.own("process.ancestors", Told::from_json(&process["ancestors"]));
        });
    }
}

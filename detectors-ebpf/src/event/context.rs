//! What all events of one sensor share: names, clocks, log sources.

use crate::relay::Allowance;
use jiff::Timestamp;
use quell_model::{BootId, Class, EventId, EventIdParts, LogSource, Name, Pods, PodsView, Stamp};
use rustix::time::{ClockId, clock_gettime};
use std::cell::Cell;
use std::fs;
use std::sync::Arc;

/// Shared by all events; one for each sensor, on its thread.
#[derive(Debug)]
pub(crate) struct Context {
    pub(crate) node: Name,
    pub(crate) boot: BootId,
    pub(crate) allowance: Allowance,
    /// Processes have labels here: an LSM gives them, and says so of this one too.
    pub(crate) labels: bool,
    /// Whose the containers of this node are; none: no cluster is watched.
    pub(crate) pods: Option<PodsView>,
    /// How the ids of events begin.
    prefix: Arc<str>,
    live: Name,
    scan: Name,
    logsources: [LogSource; Class::ALL.len()],
    /// Wall clock minus boot clock, in ns; taken anew with each batch.
    offset: Cell<i128>,
    now: Cell<u64>,
}

impl Context {
    pub(crate) fn new(node: Name, pods: Option<Arc<Pods>>) -> Self {
        let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
        let boot = boot.trim();
        let context = Self {
            node,
            boot: BootId(Arc::from(boot)),
            allowance: Allowance::default(),
            labels: fs::read("/proc/self/attr/current").is_ok_and(|label| !label.is_empty()),
            pods: pods.map(PodsView::new),
            prefix: format!("e-{}", boot.chars().take(8).collect::<String>()).into(),
            live: Name::from("sensor"),
            scan: Name::from("scan"),
            logsources: Class::ALL.map(|class| LogSource {
                category: Some(class.as_str().into()),
                product: Some("linux".into()),
                service: None,
            }),
            offset: Cell::default(),
            now: Cell::default(),
        };
        context.tick();
        context
    }

    /// Reads the clocks: once for a batch.
    pub(crate) fn tick(&self) {
        let ns = |id| {
            let t = clock_gettime(id);
            i128::from(t.tv_sec) * 1_000_000_000 + i128::from(t.tv_nsec)
        };
        let boot = ns(ClockId::Boottime);
        self.now.set(u64::try_from(boot).unwrap_or(0));
        self.offset.set(ns(ClockId::Realtime) - boot);
    }

    pub(crate) fn now_ns(&self) -> u64 {
        self.now.get()
    }

    pub(crate) fn now(&self) -> Stamp {
        self.stamp(self.now.get())
    }

    pub(crate) fn stamp(&self, boot_ns: u64) -> Stamp {
        let wall = Timestamp::from_nanosecond(i128::from(boot_ns) + self.offset.get());
        Stamp { wall: wall.unwrap_or(Timestamp::UNIX_EPOCH), boot_ns }
    }

    /// No two events of one thread and class have the same nanosecond.
    pub(crate) fn event_id(&self, at: u64, tid: u32, class: Class, scanned: bool) -> EventId {
        let kind = if scanned { b's' } else { b'a' + class as u8 };
        EventIdParts { prefix: Arc::clone(&self.prefix), at, tid, kind }.into()
    }

    pub(crate) fn source(&self, scanned: bool) -> Name {
        if scanned { self.scan.clone() } else { self.live.clone() }
    }

    pub(crate) fn logsource(&self, class: Class) -> &LogSource {
        &self.logsources[class as usize]
    }
}

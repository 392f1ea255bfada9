//! Brings the kernel side in: object, maps, programs, hooks, by the table in probes.rs.
//!
//! An optional probe that this kernel lacks is named and left out; a needed one ends the start. Pins nothing: when the
//! process ends, however it ends, the kernel takes all of it down.

use crate::error::{HINT_LOCKDOWN, HINT_VERIFIER, SensorError};
use crate::fill::Fill;
use crate::probes::{Attach, DISPATCHER, Need, PROBES, Probe, calls};
use crate::undisturbed::undisturbed;
use crate::watch::{NAME_LEN, Watch};
use aya::maps::{Array, HashMap, Map, MapData, ProgramArray, RingBuf};
use aya::programs::{BtfTracePoint, Iter, ProgramError};
use aya::{Btf, Ebpf, EbpfLoader};
use std::fs::File;
use std::io;

/// The compiled kernel side.
pub const OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/quell.bpf.o"));

const READER_POLLS: u32 = 0;
const BUDGET: u32 = 1;
const WATCH_LENGTHS: u32 = 2;
const LOSSES: u32 = 3;

/// A probe that is not there.
#[derive(Clone, Debug)]
pub(crate) struct Missing {
    /// Which.
    pub(crate) probe: &'static Probe,
    /// What the kernel said.
    pub(crate) why: String,
}

/// The kernel side, in and hooked.
pub(crate) struct Loaded {
    pub(crate) process_ring: RingBuf<MapData>,
    pub(crate) other_ring: RingBuf<MapData>,
    /// How full the rings are, where that can be looked at.
    pub(crate) fills: Vec<(&'static str, Fill)>,
    control: Array<MapData, u64>,
    lost: HashMap<MapData, [u64; 2], u64>,
    pub(crate) attached: Vec<&'static Probe>,
    pub(crate) missing: Vec<Missing>,
    pub(crate) iterator: Option<File>,
    /// The kernel empties it when the last holder lets go.
    _handlers: Option<ProgramArray<MapData>>,
    /// Holds the programs and their hooks.
    _ebpf: Ebpf,
}

/// What a counter of losses counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct LostKey {
    /// The record's kind.
    pub(crate) kind: u8,
    /// The reason, in the kernel side's numbers.
    pub(crate) why: u8,
    /// Whose; 0 stands for all that found no counter.
    pub(crate) cgroup: u64,
}

impl LostKey {
    fn of([packed, cgroup]: [u64; 2]) -> Self {
        let bytes = packed.to_ne_bytes();
        Self { kind: bytes[0], why: bytes[4], cgroup }
    }

    fn packed(self) -> [u64; 2] {
        [u64::from_ne_bytes([self.kind, 0, 0, 0, self.why, 0, 0, 0]), self.cgroup]
    }
}

/// What the kernel side is told.
#[derive(Clone, Debug, Default)]
pub(crate) struct Settings {
    pub(crate) watch: Watch,
    pub(crate) ignore_pids: Vec<u32>,
    /// File and network events that a cgroup may send in about a second; 0: without bound.
    pub(crate) budget: u64,
    /// Bytes of each ring, where it is not the usual.
    pub(crate) ring: Option<u32>,
}

/// Loads everything; hooks it in too unless `dry`, which is for `doctor`.
pub(crate) fn load(settings: &Settings, dry: bool) -> Result<Loaded, SensorError> {
    may_load()?;
    let btf = Btf::from_sys_fs().map_err(|e| SensorError::NoBtf { why: chain(&e) })?;
    let mut ebpf = loader(&btf, settings).load(OBJECT).map_err(|e| maps_refused(&e))?;
    let (control, lost) = fill_maps(&mut ebpf, settings).map_err(|e| maps_refused(&e))?;
    let mut fills = Vec::new();
    let mut ring = |ebpf: &mut Ebpf, map, name| ring(ebpf, map, name, &mut fills).map_err(|e| maps_refused(&e));
    let process_ring = ring(&mut ebpf, "PROCESS_RING", "process")?;
    let other_ring = ring(&mut ebpf, "OTHER_RING", "other")?;

    let mut attached = Vec::new();
    let mut missing = Vec::new();
    for probe in PROBES {
        match load_one(&mut ebpf, probe, &btf) {
            Ok(()) => attached.push(probe),
            Err(error) if probe.need == Need::Optional => missing.push(Missing { probe, why: last_line(&error) }),
            Err(error) => {
                return Err(probe_refused(probe.program, &error));
            }
        }
    }
    let handlers = dispatch(&mut ebpf, &mut attached, &mut missing);
    let mut iterator = None;
    if !dry {
        attached.retain(|probe| match attach_one(&mut ebpf, probe) {
            Ok(opened) => {
                iterator = iterator.take().or(opened);
                true
            }
            Err(error) => {
                missing.push(Missing { probe, why: last_line(&error) });
                false
            }
        });
        if let Some(failed) = missing.iter().find(|m| m.probe.need == Need::Needed) {
            let (probe, why) = (failed.probe.program, failed.why.clone());
            return Err(SensorError::ProbeRefused { probe, why, hint: HINT_LOCKDOWN });
        }
    }
    lose_the_unreached(&mut attached, &mut missing);
    drop(btf);
    give_back();
    Ok(Loaded {
        process_ring,
        other_ring,
        fills,
        control,
        lost,
        attached,
        missing,
        iterator,
        _handlers: handlers,
        _ebpf: ebpf,
    })
}

fn loader<'a>(btf: &'a Btf, settings: &Settings) -> EbpfLoader<'a> {
    let mut loader = EbpfLoader::new();
    loader.btf(Some(btf));
    if let Some(bytes) = settings.ring {
        loader.map_max_entries("PROCESS_RING", bytes).map_max_entries("OTHER_RING", bytes);
    }
    loader
}

impl Loaded {
    /// Tells the kernel side whether the reader looks by itself every millisecond.
    pub(crate) fn reader_polls(&mut self, polls: bool) {
        // Fails only for an index that the map does not have.
        if let Err(error) = self.control.set(READER_POLLS, u64::from(polls), 0) {
            tracing::warn!(%error, "cannot tell the kernel side how it is read");
        }
    }

    /// How many records were lost in all: while it stands still, so does everything in [`Self::lost`].
    pub(crate) fn losses(&self) -> u64 {
        // Fails only for an index that the map does not have.
        self.control.get(&LOSSES, 0).unwrap_or(u64::MAX)
    }

    /// All counters of what was lost, each with how many since it was made.
    pub(crate) fn lost(&self) -> Vec<(LostKey, u64)> {
        self.lost.iter().flatten().map(|(packed, count)| (LostKey::of(packed), count)).collect()
    }

    /// Gives a counter's place to another cgroup.
    pub(crate) fn forget_lost(&mut self, key: LostKey) {
        if let Err(error) = self.lost.remove(&key.packed()) {
            tracing::debug!(%error, "a counter of what was lost stays");
        }
    }
}

/// Whether BPF can be loaded here at all.
pub(crate) fn may_load() -> Result<(), SensorError> {
    permitted()?;
    new_enough()
}

pub(crate) fn maps_refused(error: &dyn std::error::Error) -> SensorError {
    SensorError::MapsRefused { why: chain(error), hint: HINT_LOCKDOWN }
}

pub(crate) fn probe_refused(probe: &'static str, error: &ProgramError) -> SensorError {
    let hint = if is_eperm(error) { HINT_LOCKDOWN } else { HINT_VERIFIER };
    SensorError::ProbeRefused { probe, why: last_line(error), hint }
}

fn permitted() -> Result<(), SensorError> {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    if may_use_bpf(&status) { Ok(()) } else { Err(SensorError::NotPermitted) }
}

/// CAP_SYS_ADMIN, or CAP_BPF with CAP_PERFMON (5.8), among the effective ones.
fn may_use_bpf(status: &str) -> bool {
    const SYS_ADMIN: u32 = 21;
    const PERFMON: u32 = 38;
    const BPF: u32 = 39;
    let caps = status.lines().find_map(|l| l.strip_prefix("CapEff:")).unwrap_or_default();
    let caps = u64::from_str_radix(caps.trim(), 16).unwrap_or(0);
    let has = |cap: u32| caps >> cap & 1 == 1;
    has(SYS_ADMIN) || (has(PERFMON) && has(BPF))
}

fn new_enough() -> Result<(), SensorError> {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default().trim().to_owned();
    if has_rings(&release) { Ok(()) } else { Err(SensorError::TooOld { release }) }
}

fn has_rings(release: &str) -> bool {
    let mut parts = release.split(['.', '-', '+']).map(|p| p.parse::<u32>().unwrap_or(0));
    (parts.next().unwrap_or(0), parts.next().unwrap_or(0)) >= (5, 8)
}

type Filled = (Array<MapData, u64>, HashMap<MapData, [u64; 2], u64>);

fn fill_maps(ebpf: &mut Ebpf, settings: &Settings) -> Result<Filled, aya::maps::MapError> {
    let mut control: Array<_, u64> = Array::try_from(take(ebpf, "CONTROL"))?;
    control.set(READER_POLLS, 1, 0)?;
    control.set(BUDGET, settings.budget, 0)?;
    control.set(WATCH_LENGTHS, settings.watch.lengths(), 0)?;
    let mut ignored: HashMap<_, u32, u8> = HashMap::try_from(map(ebpf, "IGNORED"))?;
    for pid in &settings.ignore_pids {
        ignored.insert(pid, 1, 0)?;
    }
    let mut watched: HashMap<_, [u8; NAME_LEN], u8> = HashMap::try_from(map(ebpf, "WATCHED"))?;
    for name in settings.watch.names() {
        watched.insert(name, 1, 0)?;
    }
    let mut table: Array<_, [u8; 8]> = Array::try_from(map(ebpf, "CALLS"))?;
    for call in calls() {
        let [dir, name, dir2, name2, value, value2] = call.args;
        let number = u32::try_from(call.number).expect("a test holds the numbers within the table");
        let op = u8::try_from(call.op).expect("operations are few");
        table.set(number, [op, dir, name, dir2, name2, value, value2, 0], 0)?;
    }
    // Cgroup 0 stands for all that find no place among the counters.
    let mut lost: HashMap<_, [u64; 2], u64> = HashMap::try_from(take(ebpf, "LOST"))?;
    for kind in 1..=7_u8 {
        for why in 0..3_u8 {
            lost.insert(LostKey { kind, why, cgroup: 0 }.packed(), 0, 0)?;
        }
    }
    Ok((control, lost))
}

/// A map that stays with the object: its descriptor must be open until the programs that use it are loaded.
fn map<'a>(ebpf: &'a mut Ebpf, name: &str) -> &'a mut aya::maps::Map {
    ebpf.map_mut(name).expect("the object was built with this map")
}

fn take(ebpf: &mut Ebpf, name: &str) -> aya::maps::Map {
    ebpf.take_map(name).expect("the object was built with this map")
}

fn ring(
    ebpf: &mut Ebpf,
    map: &str,
    name: &'static str,
    fills: &mut Vec<(&'static str, Fill)>,
) -> Result<RingBuf<MapData>, aya::maps::MapError> {
    let map = take(ebpf, map);
    let size = match &map {
        Map::RingBuf(data) => data.info().map(|info| info.max_entries()),
        _ => Ok(0),
    };
    let ring = RingBuf::try_from(map)?;
    // Only measured: a ring that cannot be looked at is read all the same.
    match size.map(|size| Fill::of(&ring, size.into())) {
        Ok(Ok(fill)) => fills.push((name, fill)),
        Ok(Err(error)) => tracing::warn!(%error, ring = name, "how full a ring is cannot be looked at"),
        Err(error) => tracing::warn!(%error, ring = name, "how large a ring is cannot be looked at"),
    }
    Ok(ring)
}

/// Signals cannot interrupt it; that the kernel has other work for the thread can, and ends.
const TRIES: u32 = 200;

/// Loads a program, again where it was interrupted: the verifier gives up with EAGAIN when a signal waits for the thread, also one that will be ignored
/// (kernel/bpf/verifier.c, do_check: 5.8-6.18). A process whose other threads start and lose children all the while would get a SIGCHLD into nearly
/// every try, so the thread takes none meanwhile.
pub(crate) fn again(mut load: impl FnMut() -> Result<(), ProgramError>) -> Result<(), ProgramError> {
    undisturbed(|| {
        for _ in 1..TRIES {
            match load() {
                Err(ProgramError::LoadError { io_error, .. }) if io_error.kind() == io::ErrorKind::WouldBlock => {}
                done => return done,
            }
        }
        load()
    })
}

fn load_one(ebpf: &mut Ebpf, probe: &Probe, btf: &Btf) -> Result<(), ProgramError> {
    let program = ebpf.program_mut(probe.program).expect("the object was built with this program");
    match probe.attach {
        Attach::Tracepoint(name) => {
            let program: &mut BtfTracePoint = program.try_into()?;
            again(|| program.load(name, btf))
        }
        Attach::Calls => {
            let program: &mut BtfTracePoint = program.try_into()?;
            again(|| program.load("sys_exit", btf))
        }
        Attach::TaskIterator => {
            let program: &mut Iter = program.try_into()?;
            again(|| program.load("task", btf))
        }
    }
}

fn attach_one(ebpf: &mut Ebpf, probe: &Probe) -> Result<Option<File>, ProgramError> {
    let program = ebpf.program_mut(probe.program).expect("the object was built with this program");
    match probe.attach {
        Attach::Tracepoint(_) => <&mut BtfTracePoint>::try_from(program)?.attach().map(|_| None),
        Attach::Calls => Ok(None),
        Attach::TaskIterator => {
            let iterator: &mut Iter = program.try_into()?;
            let link = iterator.attach()?;
            let link = iterator.take_link(link)?;
            link.into_file().map(Some).map_err(|e| ProgramError::IOError(io::Error::other(chain(&e))))
        }
    }
}

/// Leads the calls of the table to their programs; a program that no call reaches is missing.
fn dispatch(
    ebpf: &mut Ebpf,
    attached: &mut Vec<&'static Probe>,
    missing: &mut Vec<Missing>,
) -> Option<ProgramArray<MapData>> {
    let mut handlers = match ProgramArray::try_from(take(ebpf, "HANDLERS")) {
        Ok(handlers) => handlers,
        Err(error) => {
            lose_calls(attached, missing, &chain(&error));
            return None;
        }
    };
    for call in calls() {
        if !attached.iter().any(|p| p.program == call.program) {
            continue;
        }
        let program = ebpf.program(call.program).expect("the object was built with this program");
        let number = u32::try_from(call.number).expect("a test holds the numbers within the table");
        let set = program.fd().map_err(|e| chain(&e)).and_then(|fd| handlers.set(number, fd, 0).map_err(|e| chain(&e)));
        if let Err(why) = set {
            lose_calls(attached, missing, &why);
            return None;
        }
    }
    Some(handlers)
}

/// Where the first program of system calls is missing, so are all that it leads to.
fn lose_the_unreached(attached: &mut Vec<&'static Probe>, missing: &mut Vec<Missing>) {
    let why = missing.iter().find(|missing| missing.probe.program == DISPATCHER).map(|missing| missing.why.clone());
    if let Some(why) = why {
        lose_calls(attached, missing, &format!("`{DISPATCHER}` is missing: {why}"));
    }
}

fn lose_calls(attached: &mut Vec<&'static Probe>, missing: &mut Vec<Missing>, why: &str) {
    attached.retain(|probe| {
        let stays = probe.attach != Attach::Calls;
        if !stays {
            missing.push(Missing { probe, why: why.to_owned() });
        }
        stays
    });
}

/// The verifier's last line that says something, or the error.
fn last_line(error: &ProgramError) -> String {
    if let ProgramError::LoadError { io_error, verifier_log } = error {
        let log = verifier_log.to_string();
        let says = |line: &&str| !line.trim().is_empty() && !line.starts_with("processed ");
        let line = log.lines().rev().find(says).unwrap_or_default();
        return format!("{io_error}: {}", line.trim()).trim_end_matches(": ").to_owned();
    }
    chain(error)
}

fn is_eperm(error: &ProgramError) -> bool {
    matches!(error, ProgramError::LoadError { io_error, .. } if io_error.kind() == io::ErrorKind::PermissionDenied)
}

/// An error with all its causes.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut out = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let text = cause.to_string();
        if !out.contains(&text) {
            out.push_str(": ");
            out.push_str(&text);
        }
        next = cause.source();
    }
    out
}

/// The kernel's types took 15 MB to read: the allocator keeps them unless it is asked.
#[allow(unsafe_code, reason = "malloc_trim has no safe wrapper")]
pub(crate) fn give_back() {
    #[cfg(target_env = "gnu")]
    // SAFETY: malloc_trim takes no pointer and may be called at any time from any thread.
    unsafe {
        libc::malloc_trim(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn root_without_its_capabilities_may_not() {
        for (caps, may) in
            [("000001fffeffffff", true), ("000000c000000000", true), ("0000004000000000", false), ("0", false)]
        {
            assert_eq!(may_use_bpf(&format!("Name:\tx\nCapEff:\t{caps}\n")), may, "{caps}");
        }
        assert!(!may_use_bpf(""));
    }

    #[test]
    fn kernels_without_the_ring_buffer_are_too_old() {
        for (release, enough) in
            [("5.7.19", false), ("5.8.0-1-amd64", true), ("6.1.0-50-cloud-amd64", true), ("4.19.0", false)]
        {
            assert_eq!(has_rings(release), enough, "{release}");
        }
    }

    #[test]
    fn what_only_a_missing_program_leads_to_is_missing_too() {
        let (lead, mut attached): (Vec<&Probe>, Vec<&Probe>) = PROBES.iter().partition(|p| p.program == DISPATCHER);
        let (all, mut missing) = (attached.len(), Vec::new());
        lose_the_unreached(&mut attached, &mut missing);
        assert_eq!((attached.len(), missing.len()), (all, 0));
        missing.push(Missing { probe: lead[0], why: "no such type".into() });
        lose_the_unreached(&mut attached, &mut missing);
        assert!(attached.iter().all(|probe| probe.attach != Attach::Calls));
        assert_eq!(attached.len() + missing.len(), PROBES.len());
        assert!(missing.iter().all(|missing| missing.why.contains("no such type")));
        assert!(missing.iter().any(|missing| missing.probe.program == "file_open"));
    }

    #[test]
    fn every_error_says_what_to_do() {
        let errors = [
            SensorError::NotPermitted,
            SensorError::NoBtf { why: "no such file".into() },
            SensorError::TooOld { release: "4.19".into() },
            SensorError::MapsRefused { why: "x".into(), hint: HINT_LOCKDOWN },
            SensorError::ProbeRefused { probe: "process_exec", why: "x".into(), hint: HINT_VERIFIER },
        ];
        for error in errors {
            assert!(error.to_string().contains("hint: "), "{error}");
        }
    }
}

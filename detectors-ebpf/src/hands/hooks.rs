//! The programs of the hands and where they hang: fork, exec and exit always, the system calls only while a mark lives.
//!
//! Owns the BPF object and its links, pinned where there are pins. Keeps true: what is in the directory of pins is hooked
//! in, and nothing else of these hands is; a hook that is taken away leaves no pin; whom a killed predecessor marked is
//! struck by its hooks, beside these, until the last of its marks has ended.

use super::marks::now_ns;
use super::{C_UNTIL, HandsError, PREFIX};
use crate::error::SensorError;
use crate::load::{self, chain};
use crate::pin::{self, PinError, Pins};
use aya::maps::{Array, Map, MapData};
use aya::programs::links::{FdLink, PinnedLink};
use aya::programs::{BtfTracePoint, Iter, ProgramError};
use aya::{Btf, Ebpf};
use std::io::Read;
use std::path::Path;
use std::sync::Arc;

/// The compiled kernel side of the hands.
pub const HAND_OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/hand.bpf.o"));

/// Program and tracepoint of those that are always in.
const ALWAYS: [(&str, &str); 3] =
    [("hand_fork", "sched_process_fork"), ("hand_exec", "sched_process_exec"), ("hand_exit", "sched_process_exit")];
/// Of the one that comes with a mark.
const CALL: (&str, &str) = ("hand_call", "sys_enter");

/// The map beside them that says until when marks are in force.
const CONTROL: (&str, &str) = ("HAND_CONTROL", "hand_control");
/// What a killed predecessor left begins so, while its marks are in force.
const FORMER: &str = "hand_former_";
/// That of it which strikes; the control last, so that who is killed between two goes on with the rest.
const STRIKING: [&str; 4] = ["fork", "exec", "call", "control"];

/// A hook that is in.
#[derive(Debug)]
enum Link {
    Own { _held: FdLink },
    Pinned(PinnedLink),
}

/// See the module.
pub(super) struct Hooks {
    ebpf: Ebpf,
    pins: Option<Arc<Pins>>,
    always: Vec<Link>,
    call: Option<Link>,
    /// When the last mark of a killed predecessor ends, whose hooks are in.
    former: Option<u64>,
}

impl Hooks {
    /// Loads every program and hooks nothing in. The maps stay with the object until they are taken.
    pub(super) fn load(pins: Option<Arc<Pins>>) -> Result<Self, HandsError> {
        let former = pins.as_deref().map_or(Ok(None), set_aside)?;
        match programs(pins.as_deref()) {
            Ok(ebpf) => Ok(Self { ebpf, pins, always: Vec::new(), call: None, former }),
            Err(error) => {
                if let Some(pins) = &pins {
                    clear(pins, PREFIX);
                }
                Err(error)
            }
        }
    }

    /// The object's maps.
    pub(super) fn ebpf(&mut self) -> &mut Ebpf {
        &mut self.ebpf
    }

    /// Hooks in what is always in, then learns who is there: in this order nobody is born between.
    pub(super) fn begin(&mut self) -> Result<(), HandsError> {
        for (name, _) in ALWAYS {
            let link = self.attach(name)?;
            self.always.push(link);
        }
        scan(&mut self.ebpf).map_err(|e| load::probe_refused("hand_scan", &e).into())
    }

    /// Hooks in at system calls, unless it is there. Where it cannot be pinned, because somebody removed the directory or
    /// left another pin in its place, it acts all the same and ends with this process.
    pub(super) fn join(&mut self) -> Result<(), HandsError> {
        if self.call.is_some() {
            return Ok(());
        }
        self.call = Some(match self.attach(CALL.0) {
            Err(HandsError::Pin(error)) => {
                tracing::warn!(error = chain(&error), "a hook of the kernel's hands acts without a pin");
                Link::Own { _held: self.link(CALL.0)? }
            }
            attached => attached?,
        });
        Ok(())
    }

    /// Whether it hangs at system calls.
    pub(super) fn is_joined(&self) -> bool {
        self.call.is_some()
    }

    /// Whether a predecessor's hooks are in beside these.
    pub(super) fn has_former(&self) -> bool {
        self.former.is_some()
    }

    /// A predecessor's hooks go once the last of its marks has ended.
    pub(super) fn settle(&mut self) {
        if self.former.is_some_and(|until| until <= now_ns()) {
            self.former = None;
            if let Some(pins) = &self.pins {
                clear(pins, FORMER);
            }
        }
    }

    /// Leaves the system calls.
    pub(super) fn leave(&mut self) {
        if let Some(Link::Pinned(link)) = self.call.take()
            && let Err(error) = link.unpin()
            && error.kind() != std::io::ErrorKind::NotFound
        {
            tracing::warn!(%error, "a hook of the kernel's hands stays pinned");
        }
    }

    /// Takes all of it out.
    pub(super) fn end(&mut self) {
        self.leave();
        self.always.clear();
        self.former = None;
        if let Some(pins) = &self.pins {
            clear(pins, PREFIX);
        }
    }

    fn link(&mut self, name: &'static str) -> Result<FdLink, HandsError> {
        let attached = program(&mut self.ebpf, name).and_then(|program| {
            let link = program.attach()?;
            program.take_link(link)
        });
        Ok(attached.map_err(|e| load::probe_refused(name, &e))?.into())
    }

    fn attach(&mut self, name: &'static str) -> Result<Link, HandsError> {
        let link = self.link(name)?;
        let Some(pins) = &self.pins else { return Ok(Link::Own { _held: link }) };
        let path = pins.path(name);
        let pinned = link.pin(&path);
        pinned.map(Link::Pinned).map_err(|e| PinError::Refused { path, why: chain(&e) }.into())
    }
}

fn programs(pins: Option<&Pins>) -> Result<Ebpf, HandsError> {
    load::may_load()?;
    let btf = Btf::from_sys_fs().map_err(|e| SensorError::NoBtf { why: chain(&e) })?;
    let mut loader = pin::loader(&btf, pins, &[CONTROL]);
    let mut ebpf = loader.load(HAND_OBJECT).map_err(|e| load::maps_refused(&e))?;
    for (name, tracepoint) in ALWAYS.into_iter().chain([CALL]) {
        let done = program(&mut ebpf, name).and_then(|program| load::again(|| program.load(tracepoint, &btf)));
        done.map_err(|e| load::probe_refused(name, &e))?;
    }
    let scan = iterator(&mut ebpf).and_then(|program| load::again(|| program.load("task", &btf)));
    scan.map_err(|e| load::probe_refused("hand_scan", &e))?;
    Ok(ebpf)
}

/// Where a killed predecessor's marks are in force, what strikes of it acts on under other names: whoever it marked and who
/// sleeps would get away. All else that was pinned goes. Gives when the last of those marks ends.
fn set_aside(pins: &Pins) -> Result<Option<u64>, PinError> {
    let until = |control: &str| until(&pins.path(control)).filter(|until| *until > now_ns());
    let last = until(CONTROL.1);
    if last.is_some() {
        for part in STRIKING {
            pins.rename(&format!("{PREFIX}{part}"), &format!("{FORMER}{part}"))?;
        }
    }
    for name in ALWAYS.into_iter().chain([CALL]).map(|(name, _)| name).chain([CONTROL.1]) {
        pins.clear(name)?;
    }
    let last = last.or_else(|| until(&format!("{FORMER}control")));
    if last.is_none() {
        pins.clear(FORMER)?;
    }
    Ok(last)
}

/// Until when marks are in force, as this pinned map says; `None` when it is not there, or of another shape.
fn until(control: &Path) -> Option<u64> {
    let data = MapData::from_pin(control).ok()?;
    Array::<_, u64>::try_from(Map::Array(data)).ok()?.get(&C_UNTIL, 0).ok()
}

fn clear(pins: &Pins, prefix: &str) {
    if let Err(error) = pins.clear(prefix) {
        tracing::warn!(error = chain(&error), "hooks of the kernel's hands stay pinned");
    }
}

fn program<'a>(ebpf: &'a mut Ebpf, name: &str) -> Result<&'a mut BtfTracePoint, ProgramError> {
    ebpf.program_mut(name).expect("the object was built with this program").try_into()
}

fn iterator(ebpf: &mut Ebpf) -> Result<&mut Iter, ProgramError> {
    ebpf.program_mut("hand_scan").expect("the object was built with it").try_into()
}

fn scan(ebpf: &mut Ebpf) -> Result<(), ProgramError> {
    let program = iterator(ebpf)?;
    let link = program.attach()?;
    let other = |e: &dyn std::error::Error| ProgramError::IOError(std::io::Error::other(chain(e)));
    let mut file = program.take_link(link)?.into_file().map_err(|e| other(&e))?;
    // It writes nothing: the reading is what makes it walk.
    file.read_to_end(&mut Vec::new()).map_err(ProgramError::IOError).map(|_| ())
}

//! The programs of the hands and where they hang: fork, exec and exit always, the system calls only while a mark lives.
//!
//! Owns the BPF object and its links, pinned where there are pins. Keeps true: what is in the directory of pins is hooked
//! in, and nothing else of these hands is; a hook that is taken away leaves no pin.

use super::{HandsError, PREFIX};
use crate::error::SensorError;
use crate::load::{self, chain};
use crate::pin::{self, PinError, Pins};
use aya::programs::links::{FdLink, PinnedLink};
use aya::programs::{BtfTracePoint, Iter, ProgramError};
use aya::{Btf, Ebpf};
use std::io::Read;
use std::sync::Arc;

/// The compiled kernel side of the hands.
pub const HAND_OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/hand.bpf.o"));

/// Program and tracepoint of those that are always in.
const ALWAYS: [(&str, &str); 3] =
    [("hand_fork", "sched_process_fork"), ("hand_exec", "sched_process_exec"), ("hand_exit", "sched_process_exit")];
/// Of the one that comes with a mark.
const CALL: (&str, &str) = ("hand_call", "sys_enter");

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
}

impl Hooks {
    /// Loads every program and hooks nothing in. The maps stay with the object until they are taken.
    pub(super) fn load(pins: Option<Arc<Pins>>) -> Result<Self, HandsError> {
        load::may_load()?;
        let btf = Btf::from_sys_fs().map_err(|e| SensorError::NoBtf { why: chain(&e) })?;
        let loaded = pin::loader(&btf, pins.as_deref()).load(HAND_OBJECT);
        let mut ebpf = loaded.map_err(|e| load::maps_refused(&e))?;
        for (name, tracepoint) in ALWAYS.into_iter().chain([CALL]) {
            let done = program(&mut ebpf, name).and_then(|program| load::again(|| program.load(tracepoint, &btf)));
            done.map_err(|e| load::probe_refused(name, &e))?;
        }
        let scan = iterator(&mut ebpf).and_then(|program| load::again(|| program.load("task", &btf)));
        scan.map_err(|e| load::probe_refused("hand_scan", &e))?;
        Ok(Self { ebpf, pins, always: Vec::new(), call: None })
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
        if let Some(pins) = &self.pins
            && let Err(error) = pins.clear(PREFIX)
        {
            tracing::warn!(error = chain(&error), "hooks of the kernel's hands stay pinned");
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

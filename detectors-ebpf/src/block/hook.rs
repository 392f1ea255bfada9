//! How the reflex's programs get into the kernel, hang there, and are pinned.
//!
//! Keeps true: a program takes the place of its predecessor after it is hooked in itself; a verifier that was interrupted
//! is asked again.

use super::ReflexError;
use crate::load::{again, chain};
use crate::pin::{PinError, Pins};
use aya::maps::Map;
use aya::programs::links::FdLink;
use aya::programs::{BtfTracePoint, Lsm, ProgramError, RawTracePoint};
use aya::{Btf, Ebpf};
use std::fs;

pub(super) fn exec(ebpf: &mut Ebpf, btf: &Btf) -> Result<FdLink, ProgramError> {
    let program: &mut BtfTracePoint = found(ebpf, "block_exec").try_into()?;
    again(|| program.load("sched_process_exec", btf))?;
    let link = program.attach()?;
    Ok(program.take_link(link)?.into())
}

pub(super) fn check(ebpf: &mut Ebpf, btf: &Btf) -> Result<FdLink, ProgramError> {
    let program: &mut Lsm = found(ebpf, "block_check").try_into()?;
    again(|| program.load("bprm_check_security", btf))?;
    let link = program.attach()?;
    Ok(program.take_link(link)?.into())
}

/// Those that are asked by their descriptors, and hang nowhere.
pub(super) fn ask(ebpf: &mut Ebpf) -> Result<(), ProgramError> {
    for name in ["block_ask", "block_note"] {
        let program: &mut RawTracePoint = found(ebpf, name).try_into()?;
        again(|| program.load())?;
    }
    Ok(())
}

fn found<'a>(ebpf: &'a mut Ebpf, name: &str) -> &'a mut aya::programs::Program {
    ebpf.program_mut(name).expect("the object was built with this program")
}

pub(super) fn taken(ebpf: &mut Ebpf, name: &str) -> Map {
    ebpf.take_map(name).expect("the object was built with this map")
}

/// A link that is pinned lives by its pin; it takes the place of an earlier one, which acts until then.
pub(super) fn keep(link: FdLink, pins: Option<&Pins>, name: &str) -> Result<Option<FdLink>, ReflexError> {
    let Some(pins) = pins else { return Ok(Some(link)) };
    let (path, fresh) = (pins.path(name), pins.path(&format!("{name}_new")));
    let failed = |why: String| PinError::Refused { path: path.clone(), why };
    if fresh.exists() {
        fs::remove_file(&fresh).map_err(|e| failed(e.to_string()))?;
    }
    link.pin(&fresh).map_err(|e| failed(chain(&e)))?;
    fs::rename(&fresh, &path).map_err(|e| failed(e.to_string()))?;
    Ok(None)
}

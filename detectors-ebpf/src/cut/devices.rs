//! The hooks of devices, the host's ends of veths: where they are kept, and whose network lies behind which.
//!
//! Keeps true: a device that is hooked is known to its programs before they hang there, and they let everything pass once it is not; one that
//! is gone is no hook that is missing. They hang before those of others, who may send a packet elsewhere (`BPF_F_BEFORE`; tcx: Linux 6.6).

use super::link::Link;
use super::probe::inside;
use super::veth::Device;
use crate::error::SensorError;
use crate::letters::{text, write};
use crate::load::{again, chain, probe_refused};
use crate::pin::Pins;
use aya::Ebpf;
use aya::maps::{HashMap, MapData};
use aya::programs::{Program, ProgramError};
use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::sync::Arc;

/// A program, the name of its pins, and its hook as the kernel numbers it.
const HOOKS: [(&str, &str, u32); 2] = [("cut_out", "out", 46), ("cut_in", "in", 47)];
/// What the pins begin with; the number is that of the maps' layout.
const PREFIX: &str = "cut1_device_";

/// `struct device`: the cgroup, and a name for people.
pub(super) type Behind = [u64; 3];

pub(super) struct Devices {
    behind: HashMap<MapData, u32, Behind>,
    pins: Option<Arc<Pins>>,
    /// Those that are pinned nowhere.
    own: BTreeMap<u32, Vec<Link>>,
}

/// How a hook of a device stands.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stands {
    In,
    /// The device is no more.
    Over,
    Out,
}

impl Devices {
    pub(super) fn new(behind: HashMap<MapData, u32, Behind>, pins: Option<Arc<Pins>>) -> Self {
        Self { behind, pins, own: BTreeMap::new() }
    }

    fn pin(&self, index: u32, name: &str) -> Option<PathBuf> {
        self.pins.as_ref().map(|pins| pins.path(&format!("{PREFIX}{index}_{name}")))
    }

    fn stands(&self, index: u32, name: &str, hook: u32) -> Stands {
        let of = |link: &Link| match link.hangs_on_device() {
            Some(at) if at == (index, hook) => Stands::In,
            Some((0, its)) if its == hook => Stands::Over,
            _ => Stands::Out,
        };
        match self.pin(index, name) {
            Some(path) => Link::pinned(&path).map_or(Stands::Out, |link| of(&link)),
            None => {
                let all = self.own.get(&index).into_iter().flatten().map(of);
                all.fold(Stands::Out, |found, one| if found == Stands::Out { one } else { found })
            }
        }
    }

    fn is(&self, index: u32, stands: Stands) -> bool {
        HOOKS.iter().all(|(_, name, hook)| self.stands(index, name, *hook) == stands)
    }

    pub(super) fn is_hooked(&self, group: u64, index: u32) -> bool {
        self.behind.get(&index, 0).is_ok_and(|behind| behind[0] == group) && self.is(index, Stands::In)
    }

    /// Every device that is known, with its cgroup.
    fn all(&self) -> Result<Vec<(u32, Behind)>, String> {
        self.behind.iter().collect::<Result<_, _>>().map_err(|e| chain(&e))
    }

    /// The names of a cgroup's devices: those that are hooked, and those that should be.
    pub(super) fn of(&self, group: u64) -> Result<(Vec<String>, Vec<String>), String> {
        let its =
            self.all()?.into_iter().filter(|(index, behind)| behind[0] == group && !self.is(*index, Stands::Over));
        let (hooked, missing): (Vec<_>, Vec<_>) = its.partition(|(index, _)| self.is(*index, Stands::In));
        let names = |all: Vec<(u32, Behind)>| all.iter().map(|(_, behind)| text(&behind[1..])).collect();
        Ok((names(hooked), names(missing)))
    }

    /// Hooks it in, or gives why it is not.
    pub(super) fn hang(&mut self, ebpf: &Ebpf, group: u64, device: &Device) -> Result<(), String> {
        let index = device.index;
        let known = self.behind.get(&index, 0).ok();
        if known.is_some_and(|behind| behind[0] != group) {
            if self.is(index, Stands::In) {
                return Err("another cgroup's network lies behind a device of that number".to_owned());
            }
            self.take_out(index)?;
        }
        let mut behind = [group, 0, 0];
        write(&mut behind[1..], &device.name);
        self.behind.insert(index, behind, 0).map_err(|e| chain(&e))?;
        for (program, name, hook) in HOOKS {
            if self.stands(index, name, hook) != Stands::In
                && let Err(error) = self.hang_one(ebpf, device, (program, name, hook))
            {
                // Half of it would be told as the whole.
                self.take_out(index)?;
                return Err(match error.raw_os_error() {
                    Some(libc::EINVAL) => "this kernel hooks no devices (Linux 6.6 does)".to_owned(),
                    _ => error.to_string(),
                });
            }
        }
        Ok(())
    }

    fn hang_one(&mut self, ebpf: &Ebpf, device: &Device, (program, name, hook): (&str, &str, u32)) -> io::Result<()> {
        let program = ebpf.program(program).expect("the object was built with this program");
        let program = program.fd().map_err(io::Error::other)?.as_fd();
        let link = inside(Some(&device.namespace), || Link::before_all(program, device.index, hook));
        let link = link.map_err(io::Error::other)??;
        let Some(path) = self.pin(device.index, name) else {
            self.own.entry(device.index).or_default().push(link);
            return Ok(());
        };
        if path.exists() {
            fs::remove_file(&path)?;
        }
        link.pin(&path)
    }

    fn take_out(&mut self, index: u32) -> Result<(), String> {
        super::held::gone(self.behind.remove(&index))?;
        self.own.remove(&index);
        let mut done = Ok(());
        for path in HOOKS.iter().filter_map(|(_, name, _)| self.pin(index, name)) {
            if path.exists() {
                done = done.and(fs::remove_file(&path).map_err(|e| format!("`{}` stays: {e}", path.display())));
            }
        }
        done
    }

    /// Takes out those of a cgroup.
    pub(super) fn take_down(&mut self, group: u64) -> Result<(), String> {
        self.keep(|its| its != group)
    }

    /// Takes out those of other cgroups than these, and those that are gone.
    pub(super) fn settle(&mut self, groups: &[u64]) -> Result<(), String> {
        self.keep(|group| groups.contains(&group))?;
        for index in self.all()?.into_iter().map(|(index, _)| index).collect::<Vec<_>>() {
            if self.is(index, Stands::Over) {
                self.take_out(index)?;
            }
        }
        // Of a daemon that died in the midst of taking one out.
        let Some(pins) = &self.pins else { return Ok(()) };
        let names = fs::read_dir(pins.dir()).into_iter().flatten().flatten();
        let index = |name: &str| name.strip_prefix(PREFIX)?.split_once('_')?.0.parse().ok();
        let pinned: Vec<u32> = names.filter_map(|entry| index(entry.file_name().to_str()?)).collect();
        for index in pinned {
            if self.behind.get(&index, 0).is_err() {
                self.take_out(index)?;
            }
        }
        Ok(())
    }

    fn keep(&mut self, kept: impl Fn(u64) -> bool) -> Result<(), String> {
        for (index, behind) in self.all()? {
            if !kept(behind[0]) {
                self.take_out(index)?;
            }
        }
        Ok(())
    }
}

/// Brings the two programs in.
pub(super) fn load(ebpf: &mut Ebpf) -> Result<(), SensorError> {
    for (name, _, _) in HOOKS {
        let program = ebpf.program_mut(name).expect("the object was built with this program");
        let loaded: Result<(), ProgramError> = match program {
            Program::SchedClassifier(program) => again(|| program.load()),
            _ => Err(ProgramError::UnexpectedProgramType),
        };
        loaded.map_err(|e| probe_refused(name, &e))?;
    }
    Ok(())
}

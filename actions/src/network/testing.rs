//! A cut in memory, for the tests of both verbs: it notes what is entered, and says what it is told to say. The kernel's own is
//! tried in the tests of the detectors and of the whole.

use crate::process::Hands;
use crate::testing::Family;
use quell_model::{Cut, CutDevices, CutDropped, CutOpen, CutRule, CutSockets, CutStanding, CutTerms};
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::{Arc, Mutex};

/// See the module.
#[derive(Default)]
pub(super) struct Paper {
    pub(super) orders: Mutex<BTreeMap<u64, CutStanding>>,
    /// What the cgroup has open; destroyed with the next order.
    pub(super) open: Mutex<Vec<String>>,
    /// What it has open that nobody can end.
    pub(super) stays: Mutex<Vec<String>>,
    /// Why its sockets cannot be listed.
    pub(super) blind: Mutex<Option<String>>,
    /// Why nothing can be entered.
    pub(super) refuses: Mutex<Option<String>>,
    /// What leads into its network.
    pub(super) devices: Mutex<CutDevices>,
    /// And nothing else does.
    pub(super) closed: Mutex<bool>,
    /// What a probe says.
    pub(super) probe: Mutex<Option<Result<Option<String>, String>>>,
}

impl Paper {
    pub(super) fn all(&self) -> Vec<CutTerms> {
        self.orders.lock().unwrap().values().map(|one| one.terms.clone()).collect()
    }
}

impl Cut for Paper {
    fn enter(&self, group: &Path, terms: &CutTerms) -> Result<(), String> {
        if let Some(why) = self.refuses.lock().unwrap().clone() {
            return Err(why);
        }
        let group = fs::metadata(group).map_err(|e| e.to_string())?.ino();
        let dropped = CutDropped { calls: 3, ..CutDropped::default() };
        let one = CutStanding { group, terms: terms.clone(), dropped, devices: Vec::new(), unhooked: Vec::new() };
        self.orders.lock().unwrap().insert(terms.id, one);
        Ok(())
    }

    fn hook_devices(&self, _: &Path) -> Result<CutDevices, String> {
        Ok(self.devices.lock().unwrap().clone())
    }

    fn is_closed(&self, _: &Path) -> Result<bool, String> {
        Ok(*self.closed.lock().unwrap())
    }

    fn standing(&self, id: u64) -> Result<Option<CutStanding>, String> {
        Ok(self.orders.lock().unwrap().get(&id).cloned())
    }

    fn all(&self) -> Result<Vec<CutStanding>, String> {
        Ok(self.orders.lock().unwrap().values().cloned().collect())
    }

    fn remove(&self, id: u64) -> Result<bool, String> {
        Ok(self.orders.lock().unwrap().remove(&id).is_some())
    }

    fn holds(&self, group: &Path) -> Result<bool, String> {
        let number = fs::metadata(group).map_err(|e| e.to_string())?.ino();
        Ok(self.orders.lock().unwrap().values().any(|one| one.group == number))
    }

    fn sockets(&self, _: &Path, _: &CutRule) -> Result<CutOpen, String> {
        self.blind.lock().unwrap().clone().map_or(Ok(()), Err)?;
        Ok(CutOpen { ends: self.open.lock().unwrap().clone(), stays: self.stays.lock().unwrap().clone() })
    }

    fn destroy(&self, _: &Path, _: &CutRule) -> Result<CutSockets, String> {
        self.blind.lock().unwrap().clone().map_or(Ok(()), Err)?;
        let destroyed = std::mem::take(&mut *self.open.lock().unwrap());
        Ok(CutSockets { destroyed, left: self.stays.lock().unwrap().clone() })
    }

    fn probe(&self, _: &Path, _: u64) -> Result<Option<String>, String> {
        self.probe.lock().unwrap().clone().unwrap_or(Ok(None))
    }

    fn attempt(&self) -> Result<(), String> {
        Ok(())
    }
}

/// Hands that have this cut.
pub(super) fn hands(family: &Family, paper: &Arc<Paper>) -> Arc<Hands> {
    Arc::new(Hands::new(family.world().with_cut(Arc::clone(paper) as _)))
}

/// A cgroup's path below its hierarchy's root.
pub(super) fn path_of(dir: &Path) -> String {
    format!("/{}", dir.file_name().unwrap().to_str().unwrap())
}

/// Puts a process into a cgroup.
pub(super) fn put(pid: u32, dir: &Path) {
    fs::write(dir.join("cgroup.procs"), pid.to_string()).unwrap();
}

/// In which v2 cgroup a process is.
pub(super) fn v2(pid: u32) -> String {
    let text = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
    text.lines().find_map(|line| line.strip_prefix("0::")).unwrap().to_owned()
}

pub(super) fn finish<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}

//! From an identity to a process in hand: the pidfd first, then the comparison, so that nothing can come between.
//!
//! Keeps true: when the start time that /proc shows *after* the pidfd was opened is the expected one, the pidfd is that
//! process: the number was its own before and after. A stranger with the same number is never signalled. /proc shows ticks;
//! where the kernel's hands know the nanosecond, a stranger of the same tick is told apart too.

use super::stat::Stat;
use crate::pidfd::Pidfd;
use crate::world::HostWorld;
use quell_model::{ActionError, ProcessId};
use rustix::io::Errno;
use rustix::process::Signal;
use std::io;

/// A process in hand.
#[derive(Debug)]
pub(crate) struct Held {
    /// As it was asked for.
    pub(crate) id: ProcessId,
    /// As it stood when it was taken.
    pub(crate) stat: Stat,
    fd: Pidfd,
}

impl Held {
    /// Takes the process of this identity; `None` when it is gone, whoever has its number now.
    pub(crate) fn take(world: &HostWorld, id: &ProcessId) -> Result<Option<Self>, ActionError> {
        Self::try_take(world, id).map_err(|error| cannot("opened", &id.pid.to_string(), &error))
    }

    /// The same, with the error as the kernel gave it.
    pub(crate) fn try_take(world: &HostWorld, id: &ProcessId) -> io::Result<Option<Self>> {
        if world.boot != id.boot {
            return Ok(None);
        }
        let held = Self::take_number(world, id.pid)?.filter(|held| held.stat.is(id, world) && world.may_be(id));
        Ok(held.map(|held| Self { id: id.clone(), ..held }))
    }

    /// Takes whoever has this number now: for what a scope finds.
    pub(crate) fn take_number(world: &HostWorld, pid: u32) -> io::Result<Option<Self>> {
        let Some(fd) = Pidfd::open(pid)? else { return Ok(None) };
        let Some(stat) = Stat::read(world, pid)? else { return Ok(None) };
        Ok(Some(Self { id: stat.id(world), stat, fd }))
    }

    /// Sends a signal to this process and to no other; false when it is gone.
    pub(crate) fn signal(&self, signal: Signal) -> Result<bool, ActionError> {
        self.fd.signal(signal).map_err(|error| cannot("signalled", &self.stat.label(), &error))
    }

    /// Whether all of it has ended; a zombie has.
    pub(crate) fn is_dead(&self) -> bool {
        self.fd.has_exited()
    }

    /// What holds it.
    pub(crate) fn pidfd(&self) -> &Pidfd {
        &self.fd
    }
}

/// The process of this identity as /proc shows it now, without taking it; `None` when it is gone.
pub(crate) fn now(world: &HostWorld, id: &ProcessId) -> Result<Option<Stat>, ActionError> {
    let stat = Stat::read(world, id.pid).map_err(|error| cannot("read", &id.pid.to_string(), &error))?;
    Ok(stat.filter(|stat| stat.is(id, world) && world.may_be(id)))
}

/// The process of this identity if it lives; a zombie does not. /proc is asked only of a number whose owner has not ended.
pub(crate) fn living(world: &HostWorld, id: &ProcessId) -> Result<Option<Stat>, ActionError> {
    match Pidfd::open(id.pid) {
        Ok(None) => return Ok(None),
        Ok(Some(fd)) if fd.has_exited() => return Ok(None),
        // Also without a descriptor there is an answer.
        Ok(Some(_)) | Err(_) => {}
    }
    Ok(now(world, id)?.filter(|stat| !stat.is_dead()))
}

/// Whether it failed for want of descriptors: of ours, or of the whole system.
pub(crate) fn wants_descriptors(error: &io::Error) -> bool {
    matches!(error.raw_os_error().map(Errno::from_raw_os_error), Some(Errno::MFILE | Errno::NFILE))
}

/// An I/O error in the words of an action: what may pass is tried again, what needs a permission is not.
pub(crate) fn cannot(verb: &str, what: &str, error: &io::Error) -> ActionError {
    let why = format!("{what} could not be {verb}: {error}");
    match error.raw_os_error().map(Errno::from_raw_os_error) {
        Some(Errno::PERM | Errno::ACCESS) => {
            ActionError::GiveUp { why, hint: Some("run quell as root, or with CAP_KILL and CAP_SYS_PTRACE".to_owned()) }
        }
        Some(Errno::NOSYS) => ActionError::GiveUp { why, hint: Some("this needs Linux 5.3 or later".to_owned()) },
        _ => ActionError::retry(why),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Family;
    use quell_model::{Below, BootId, Doom};
    use std::sync::Arc;
    use std::time::Duration;

    /// Knows when every process began.
    struct Began(u64);

    impl Doom for Began {
        fn below(&self, _: &ProcessId) -> Below {
            Below::default()
        }

        fn began(&self, _: u32) -> Option<u64> {
            Some(self.0)
        }

        fn mark(&self, _: &ProcessId, _: Duration) -> Result<Below, String> {
            Err("nobody is marked here".to_owned())
        }
    }

    #[test]
    fn who_took_a_number_within_the_same_tick_is_a_stranger() {
        let family = Family::new();
        let told = family.id(family.spawn("exec sleep 300"));
        let (exact, stranger) = (told.start_ns + 1_234_567, told.start_ns + 7_654_321);
        let world = |began| family.world().with_doom(Arc::new(Began(began)));
        let id = ProcessId { start_ns: exact, ..told.clone() };
        assert!(Held::take(&world(exact), &id).unwrap().is_some() && living(&world(exact), &id).unwrap().is_some());
        assert!(Held::take(&world(stranger), &id).unwrap().is_none(), "it has the number now");
        assert!(living(&world(stranger), &id).unwrap().is_none());
        assert!(Held::take(&world(stranger), &told).unwrap().is_some(), "/proc told no more than the tick");
    }

    #[test]
    fn a_process_is_taken_by_identity_alone() {
        let family = Family::new();
        let child = family.spawn("exec sleep 300");
        let world = family.world();
        let id = family.id(child);
        assert_eq!(Held::take(&world, &id).unwrap().unwrap().id, id);
        assert!(Held::take(&world, &ProcessId { start_ns: id.start_ns + 10_000_000, ..id.clone() }).unwrap().is_none());
        assert!(Held::take(&world, &ProcessId { boot: BootId("other".into()), ..id.clone() }).unwrap().is_none());
        let finer = ProcessId { start_ns: id.start_ns + 9_999_999, exec_id: 7, ..id.clone() };
        assert!(Held::take(&world, &finer).unwrap().is_some(), "within the tick it is the same process");
        assert!(living(&world, &finer).unwrap().is_some());
        Held::take(&world, &finer).unwrap().unwrap().signal(Signal::KILL).unwrap();
        crate::testing::wait_until("it is gone", || living(&world, &finer).unwrap().is_none());
    }
}

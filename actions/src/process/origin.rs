//! Where on this host an answer comes from: the process at the other end of a socket, or of a connection by TCP, its parents, its login
//! and its cgroup.
//!
//! Reads /proc only, and judges nothing. Keeps true: what is told is of the process that was connected; where that has ended, or
//! another has its number by now, nothing is told but the user that the kernel told with the connection.

use super::cgroup::Paths;
use super::peer::{self, End, Holder};
use super::stat::Stat;
use crate::world::HostWorld;
use quell_model::{Origin, ProcessId, Stamp};
use std::net::SocketAddr;

/// Parents that are looked at: more than a login, a container and a build system have together. Whoever hides below more is told as
/// unknown.
const MOST: usize = 1024;
/// What audit says of a process without a login.
const NO_LOGIN: &str = "4294967295";

/// Where the process stands that had this number, and this user, when it was connected.
#[must_use]
pub fn origin(world: &HostWorld, pid: u32, uid: u32, connected: Stamp) -> Origin {
    let unknown = unknown(world, uid);
    found(world, pid, connected).map_or(unknown.clone(), |(processes, session, cgroup)| Origin {
        processes,
        session,
        cgroup,
        ..unknown
    })
}

/// Where whoever stands that came by TCP from this host: `from` to `to`, which is this process'. None: they came from elsewhere, or it may
/// not be looked at who they are.
#[must_use]
pub fn origin_of_connection(
    world: &HostWorld,
    (from, to): (SocketAddr, SocketAddr),
    connected: Stamp,
) -> Option<Origin> {
    let End { uid, holder } = peer::end(world, from, to).ok()??;
    match holder {
        Holder::Process(pid) => Some(origin(world, pid, uid, connected)),
        Holder::Nobody => Some(unknown(world, uid)),
        Holder::Hidden => None,
    }
}

/// It has ended, and where it stood is not known.
fn unknown(world: &HostWorld, uid: u32) -> Origin {
    Origin { node: world.node.clone(), processes: Vec::new(), uid, session: None, cgroup: None }
}

type Found = (Vec<ProcessId>, Option<String>, Option<String>);

fn found(world: &HostWorld, pid: u32, connected: Stamp) -> Option<Found> {
    let first = living(world, pid)?;
    // Who began later took the number of whoever was connected.
    if first.id(world).start_ns > connected.boot_ns {
        return None;
    }
    let mut processes = vec![first.id(world)];
    let mut parent = first.parent;
    while parent != 0 {
        if processes.len() == MOST {
            return None;
        }
        let Some(stat) = Stat::read(world, parent).ok()? else { break };
        processes.push(stat.id(world));
        parent = stat.parent;
    }
    let cgroup = Paths::read(world, pid).ok()??.path().map(str::to_owned);
    let by_logind = cgroup.as_deref().and_then(session_of);
    let by_audit = || {
        let text = std::fs::read_to_string(world.of(pid, "sessionid")).ok()?;
        Some(text.trim().to_owned()).filter(|number| number != NO_LOGIN)
    };
    let session = by_logind.or_else(by_audit);
    // All of it was this process'.
    (living(world, pid)?.id(world) == processes[0]).then_some((processes, session, cgroup))
}

fn living(world: &HostWorld, pid: u32) -> Option<Stat> {
    Stat::read(world, pid).ok()?.filter(|stat| !stat.is_dead())
}

/// logind's session, as a cgroup's path names it.
fn session_of(path: &str) -> Option<String> {
    let named = path.split('/').rev().find_map(|part| part.strip_prefix("session-")?.strip_suffix(".scope"));
    named.map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Family;
    use quell_model::TICK_NS;

    fn at(boot_ns: u64) -> Stamp {
        Stamp { wall: "2026-11-29T12:00:00Z".parse().unwrap(), boot_ns }
    }

    #[test]
    fn a_process_stands_below_its_parents_and_one_that_came_later_is_another() {
        let family = Family::new();
        let child = family.spawn("exec sleep 300");
        let (world, id) = (family.world(), family.id(child));
        let here = origin(&world, child, 7, at(id.start_ns));
        assert!(here.processes[0].same_process(&id) && here.uid == 7 && here.node == world.node, "{here:?}");
        assert!(here.processes.iter().any(|above| above.pid == std::process::id()), "{here:?}");
        let later = origin(&world, child, 7, at(id.start_ns - TICK_NS));
        assert!(later.processes.is_empty() && later.uid == 7, "{later:?}");
        let nobody = origin(&world, u32::try_from(i32::MAX).unwrap(), 7, at(u64::MAX));
        assert!(nobody.processes.is_empty(), "{nobody:?}");
    }

    #[test]
    fn the_login_is_read_out_of_the_path() {
        let path = "/user.slice/user-1000.slice/session-4.scope";
        assert_eq!(session_of(path).as_deref(), Some("4"));
        assert_eq!(session_of("/user.slice/user-1000.slice/user@1000.service/app.slice"), None);
    }
}

//! The cut tries itself: a child joins the cgroup and must reach nobody, and nobody the child.
//!
//! The child is a fork that executes nothing: it makes system calls alone and ends within [`BOUND`], or is killed. Whoever it
//! calls is this process, or an address at which a connected UDP socket sends no packet. Keeps true: nothing is sent to anybody.

#![allow(unsafe_code, reason = "fork and what may follow it in a process of several threads, by libc")]

mod child;

use super::KernelCut;
use super::group::Group;
use crate::block::{mounted, now};
use child::{Child, Task};
use quell_model::{Cut, CutRule, CutTerms};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use std::fs::{self, File};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, UdpSocket};
use std::os::fd::AsFd;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The order of the trial has this number.
pub(super) const TRIAL: u64 = 1;
/// Longer than any machine takes; the order goes with the trial.
const LASTING_NS: u64 = 30_000_000_000;
/// Longer than a child takes.
const BOUND: Duration = Duration::from_secs(5);
/// The discard protocol's: nobody listens there.
const PORT: u16 = 9;
/// TEST-NET-2 (RFC 5737) and the documentation's IPv6 (RFC 3849): nobody's.
const NOBODY: [IpAddr; 2] =
    [IpAddr::V4(Ipv4Addr::new(198, 51, 100, 1)), IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1))];

/// Does it on a thread of its own in that network namespace; none: in this one's.
pub(super) fn inside<T: Send>(namespace: Option<&File>, what: impl FnOnce() -> T + Send) -> Result<T, String> {
    std::thread::scope(|scope| {
        let moved = || {
            if let Some(namespace) = namespace {
                move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))
                    .map_err(|e| format!("the network namespace cannot be entered: {e}"))?;
            }
            Ok(what())
        };
        scope.spawn(moved).join().unwrap_or_else(|_| Err("the look into a network namespace broke off".to_owned()))
    })
}

/// Whom the child calls by UDP, which must be refused it: sending nothing, whatever comes of it.
fn refused_call(rule: &CutRule) -> Option<SocketAddr> {
    match rule {
        CutRule::Isolate { .. } => {
            let address = NOBODY.into_iter().find(|address| rule.ends(*address, PORT, 1))?;
            Some(SocketAddr::new(address, PORT))
        }
        CutRule::Block { peers, ports, outward: true, .. } => {
            let (octets, _) = peers.first()?.mapped();
            let address = IpAddr::V6(Ipv6Addr::from(octets)).to_canonical();
            let port = ports.first().map_or(PORT, |(first, _)| (*first).max(1));
            Some(SocketAddr::new(address, port)).filter(|_| rule.ends(address, port, 0))
        }
        CutRule::Block { .. } => None,
    }
}

/// See [`Cut::probe`]; `arrived` gives how many packets the order has kept from arriving.
pub(super) fn probe(dir: &Path, rule: &CutRule, arrived: impl Fn() -> u64 + Sync) -> Result<Option<String>, String> {
    let events = fs::read_to_string(dir.join("cgroup.events")).unwrap_or_default();
    if events.lines().any(|line| line == "frozen 1") {
        return Ok(Some("the cgroup is frozen: nobody who joins it runs".to_owned()));
    }
    let Some(call) = refused_call(rule) else {
        return Ok(Some("the order lets pass whatever could be tried".to_owned()));
    };
    let namespaces = Group::read(dir)?.namespaces()?;
    let here = rule.ends(Ipv4Addr::LOCALHOST.into(), PORT, 1);
    inside(namespaces.first(), || {
        // Where it is isolated from this host too, it must not reach a listener of this process's either, nor be reached.
        let listener = (here && matches!(rule, CutRule::Isolate { .. }))
            .then(|| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).ok())
            .flatten();
        let at = listener.as_ref().and_then(|listener| listener.local_addr().ok());
        let mut child = match Child::start(dir, &Task { call, listener: at }, BOUND) {
            Ok(child) => child,
            Err(why) => return Ok(Some(why)),
        };
        let told = match child.first() {
            Ok(told) => told,
            Err(why) => return Ok(Some(why)),
        };
        if !told.call_refused {
            return Err(format!("a child that joined the cgroup may call {call}"));
        }
        if told.connected {
            return Err("a child that joined the cgroup reached a listener outside of it".to_owned());
        }
        let Some(port) = told.port.filter(|_| at.is_some()) else { return Ok(None) };
        let before = arrived();
        let sent = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))
            .and_then(|socket| socket.send_to(b"quell", (Ipv4Addr::LOCALHOST, port)));
        if let Err(error) = sent {
            return Ok(Some(format!("nothing could be sent to the child: {error}")));
        }
        // Over the loopback it has arrived, or has been dropped, soon after it was sent.
        let begun = Instant::now();
        while arrived() == before && begun.elapsed() < BOUND {
            std::thread::sleep(Duration::from_millis(1));
        }
        match child.second() {
            Ok(true) => Err("a child that joined the cgroup was reached from outside of it".to_owned()),
            Ok(false) if arrived() > before => Ok(None),
            Ok(false) => Ok(Some("what was sent to the child did not arrive, nor was it counted".to_owned())),
            Err(why) => Ok(Some(why)),
        }
    })?
}

/// See [`Cut::attempt`]; one after the other in this process.
pub(super) fn attempt(cut: &KernelCut) -> Result<(), String> {
    static ONE: Mutex<()> = Mutex::new(());
    let _one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    let root = mounted(true).ok_or("there is no v2 hierarchy of cgroups")?;
    let dir = root.join(format!("quell-cut-trial-{}", std::process::id()));
    fs::create_dir(&dir).map_err(|e| format!("`{}` cannot be made: {e}", dir.display()))?;
    let done = attempt_in(cut, &dir, TRIAL);
    let removed = cut.remove(TRIAL);
    let begun = Instant::now();
    // Who has just ended is in it for a moment yet.
    while let Err(error) = fs::remove_dir(&dir) {
        if begun.elapsed() > BOUND {
            return Err(format!("`{}` cannot be removed: {error}", dir.display()));
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    done.and(removed.map(drop))
}

fn attempt_in(cut: &KernelCut, dir: &Path, id: u64) -> Result<(), String> {
    let nobody = Task { call: SocketAddr::new(NOBODY[0], PORT), listener: None };
    if Child::start(dir, &nobody, BOUND)?.first()?.call_refused {
        return Err("a dummy that nobody cut off may call nobody".to_owned());
    }
    let terms = CutTerms {
        id,
        label: "quell-dummy".into(),
        owner: String::new(),
        until_ns: now() + LASTING_NS,
        rule: CutRule::Isolate { allow: Vec::new(), loopback: false },
    };
    cut.enter(dir, &terms)?;
    cut.probe(dir, id)?.map_or(Ok(()), Err)
}

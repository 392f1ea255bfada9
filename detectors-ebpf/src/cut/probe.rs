//! The cut tries itself: a child joins the cgroup and must reach nobody, and nobody the child.
//!
//! The child is a fork that executes nothing: it makes system calls alone and ends within [`BOUND`], or is killed. Each hook is tried that can be
//! tried without anybody: those of calls by connecting a UDP socket, which sends no packet; then, because that was refused, those
//! of sending by a byte to the same address; what leaves by an echo request, and what arrives by a packet over the loopback. Keeps true: where
//! the first hook lets a call through, nothing is sent.

#![allow(unsafe_code, reason = "fork and what may follow it in a process of several threads, by libc")]

mod child;

use super::KernelCut;
use super::group::Group;
use crate::block::now;
use child::{Child, Task};
use quell_model::{Cut, CutDropped, CutRule, CutTerms, Net};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use std::fs::{self, File};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, UdpSocket};
use std::os::fd::AsFd;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The order of the trial has this number.
pub(super) const TRIAL: u64 = 1;
/// The order goes with the trial; with whoever is killed in the midst of it, a moment later.
const LASTING_NS: u64 = 12_000_000_000;
/// Longer than a child takes.
const BOUND: Duration = Duration::from_secs(5);
/// The discard protocol's: nobody listens there.
const PORT: u16 = 9;
/// TEST-NET-2 (RFC 5737) and the documentation's IPv6 (RFC 3849): nobody's.
const NOBODY4: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 1);
const NOBODY: [IpAddr; 2] = [IpAddr::V4(NOBODY4), IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1))];

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

/// Whom the child calls by UDP, which must be refused it, one a family.
fn refused_calls(rule: &CutRule) -> Vec<SocketAddr> {
    match rule {
        CutRule::Isolate { .. } => {
            let refused = NOBODY.into_iter().filter(|address| rule.ends(*address, PORT, 1));
            refused.map(|address| SocketAddr::new(address, PORT)).collect()
        }
        CutRule::Block { peers, ports, outward: true, .. } => {
            let Some((octets, _)) = peers.first().map(Net::mapped) else { return Vec::new() };
            let address = IpAddr::V6(Ipv6Addr::from(octets)).to_canonical();
            let port = ports.first().map_or(PORT, |(first, _)| (*first).max(1));
            let is_refused = rule.ends(address, port, 0);
            is_refused.then(|| SocketAddr::new(address, port)).into_iter().collect()
        }
        CutRule::Block { .. } => Vec::new(),
    }
}

/// See [`Cut::probe`]; `dropped` gives what the orders of the cgroup have dropped: of several that refuse the same, the kernel counts one.
pub(super) fn probe(
    dir: &Path,
    rule: &CutRule,
    dropped: impl Fn() -> CutDropped + Sync,
) -> Result<Option<String>, String> {
    let events = fs::read_to_string(dir.join("cgroup.events")).unwrap_or_default();
    if events.lines().any(|line| line == "frozen 1") {
        return Ok(Some("the cgroup is frozen: nobody who joins it runs".to_owned()));
    }
    let calls = refused_calls(rule);
    if calls.is_empty() {
        return Ok(Some("the order lets pass whatever could be tried".to_owned()));
    }
    let namespaces = Group::read(dir)?.namespaces()?;
    let isolates = matches!(rule, CutRule::Isolate { .. });
    let here = isolates && rule.ends(Ipv4Addr::LOCALHOST.into(), PORT, 1);
    // This host's loopback is cut off too, or an address is that nobody has.
    let echo = if here { Some(Ipv4Addr::LOCALHOST) } else { Some(NOBODY4).filter(|_| isolates) };
    let echo = echo.filter(|to| rule.ends((*to).into(), 0, 0));
    inside(namespaces.first(), || {
        // Where it is isolated from this host too, it must not reach a listener of this process's either, nor be reached.
        let listener = here.then(|| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).ok()).flatten();
        let at = listener.as_ref().and_then(|listener| listener.local_addr().ok());
        let before = dropped();
        let task = Task { calls: calls.clone(), sends: true, echo, listener: at };
        let started = Child::start(dir, &task, BOUND).and_then(|mut child| child.first().map(|told| (child, told)));
        let (mut child, told) = match started {
            Ok(started) => started,
            Err(why) => return Ok(Some(why)),
        };
        for (at, call) in calls.iter().enumerate().filter(|(at, _)| told.called & 1 << at != 0) {
            if told.call_refused & 1 << at == 0 {
                return Err(format!("a child that joined the cgroup may call {call}"));
            }
            if told.send_refused & 1 << at == 0 {
                return Err(format!("a child that joined the cgroup may send to {call}"));
            }
        }
        if told.connected {
            return Err("a child that joined the cgroup reached a listener outside of it".to_owned());
        }
        let now = dropped();
        let refused = u64::from(told.call_refused.count_ones() + told.send_refused.count_ones());
        if now.calls < before.calls + refused {
            return Ok(Some(
                "what a child that joined the cgroup was refused is not counted: others refuse it too".to_owned(),
            ));
        }
        if told.echoed && now.packets_out <= before.packets_out {
            return Err("a packet of a child that joined the cgroup left it".to_owned());
        }
        let Some(port) = told.port.filter(|_| at.is_some()) else { return Ok(None) };
        let sent = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))
            .and_then(|socket| socket.send_to(b"quell", (Ipv4Addr::LOCALHOST, port)));
        if let Err(error) = sent {
            return Ok(Some(format!("nothing could be sent to the child: {error}")));
        }
        // Over the loopback it has arrived, or has been dropped, soon after it was sent.
        let begun = Instant::now();
        let arrived = || dropped().packets_in > now.packets_in;
        while !arrived() && begun.elapsed() < BOUND {
            std::thread::sleep(Duration::from_millis(1));
        }
        match child.second() {
            Ok(true) => Err("a child that joined the cgroup was reached from outside of it".to_owned()),
            Ok(false) if arrived() => Ok(None),
            Ok(false) => Ok(Some("what was sent to the child did not arrive, nor was it counted".to_owned())),
            Err(why) => Ok(Some(why)),
        }
    })?
}

/// See [`Cut::attempt`]; one after the other in this process.
pub(super) fn attempt(cut: &KernelCut, dir: &Path) -> Result<(), String> {
    static ONE: Mutex<()> = Mutex::new(());
    let _one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    let done = attempt_in(cut, dir, TRIAL);
    done.and(cut.remove(TRIAL).map(drop))
}

fn attempt_in(cut: &KernelCut, dir: &Path, id: u64) -> Result<(), String> {
    let calls = vec![SocketAddr::new(NOBODY[0], PORT)];
    let nobody = Task { calls, sends: false, echo: None, listener: None };
    if Child::start(dir, &nobody, BOUND)?.first()?.call_refused != 0 {
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

//! Who stands between a process and a network: the holder of the other end of its pipe, fifo, pty or UNIX socket.
//!
//! A shell behind a relay has no socket of its own: `nc | sh | nc`, `mkfifo f; cat f | sh -i | nc … > f`,
//! `pty.spawn`, `socat EXEC:sh,pty`. It counts as relayed when what it reads comes from a process with a connection
//! **and** what it writes goes to one, over at most [`HOPS`] processes. Asked of /proc at the moment of the question,
//! only when a rule asks, and within [`Allowance`].

use crate::process::{Fds, Key, Process, Sockets, Table};
use crate::record::{Stdio, StdioKind};
use crate::schedule::thread_time;
use std::cell::{Cell, RefCell};
use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::time::Duration;

/// Pipelines are followed over so many processes.
const HOPS: usize = 4;
/// Of each kind of near relatives at most so many are looked at.
const NEAR: usize = 24;
/// Of the wider family.
const WIDE: usize = 96;
/// At most so many processes when the relatives do not hold the end.
const STRANGERS: usize = 3000;

/// A process that relays.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Relay {
    pub(crate) key: Key,
    pub(crate) image: String,
    pub(crate) peer: SocketAddr,
}

/// An end that another process may hold the other side of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum End {
    Pipe(u64),
    Terminal(u32),
    Socket(u64),
}

/// Which way the text goes, seen from the process that is asked about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    In,
    Out,
}

impl End {
    fn of(stdio: &Stdio) -> Option<Self> {
        match stdio.kind {
            StdioKind::Pipe => Some(Self::Pipe(stdio.inode)),
            StdioKind::Char => stdio.pts().map(Self::Terminal),
            StdioKind::Socket => stdio.unix_peer().map(Self::Socket),
            _ => None,
        }
    }
}

/// How long these questions may hold the sensor's thread in each second, by the time that it really ran: on a busy
/// machine waiting for a processor costs nothing. Answers are kept for a while: a build asks the same of each compiler.
#[derive(Debug, Default)]
pub(crate) struct Allowance {
    second: Cell<u64>,
    spent: Cell<Duration>,
    refused: Cell<u64>,
    answers: RefCell<HashMap<Ends, (u64, Vec<Relay>)>>,
}

/// Where fds 0-2 lead.
type Ends = [Option<End>; 3];

const ALLOWED: Duration = Duration::from_millis(100);
/// So long where a shell asks: no flood of other programs may take this.
const ALLOWED_TO_SHELLS: Duration = Duration::from_millis(500);
/// An answer holds so long, in ns; a connection that is made meanwhile is asked about for itself.
const ANSWER_KEPT: u64 = 2_000_000_000;
/// At most so many answers are kept.
const ANSWERS: usize = 1024;

impl Allowance {
    fn ask<T>(&self, now_ns: u64, shell: bool, question: impl FnOnce() -> Option<T>) -> Option<T> {
        let second = now_ns / 1_000_000_000;
        if self.second.replace(second) != second {
            self.spent.set(Duration::ZERO);
        }
        if self.spent.get() > if shell { ALLOWED_TO_SHELLS } else { ALLOWED } {
            self.refused.set(self.refused.get() + 1);
            return None;
        }
        let began = thread_time();
        let answer = question();
        self.spent.set(self.spent.get() + thread_time().saturating_sub(began));
        answer
    }

    /// The answer that was given to the same question a moment ago.
    fn known(&self, ends: &Ends, now_ns: u64) -> Option<Vec<Relay>> {
        let answers = self.answers.borrow();
        answers.get(ends).filter(|(at, _)| now_ns.saturating_sub(*at) < ANSWER_KEPT).map(|(_, answer)| answer.clone())
    }

    fn keep(&self, ends: Ends, now_ns: u64, answer: &[Relay]) {
        let mut answers = self.answers.borrow_mut();
        if answers.len() >= ANSWERS {
            answers.retain(|_, (at, _)| now_ns.saturating_sub(*at) < ANSWER_KEPT);
        }
        if answers.len() < ANSWERS {
            answers.insert(ends, (now_ns, answer.to_vec()));
        }
    }

    /// How many questions found no time, since the last call.
    pub(crate) fn take_refused(&self) -> u64 {
        self.refused.replace(0)
    }
}

/// One process and the ends that it holds.
#[derive(Debug)]
struct Node {
    key: Key,
    fds: Fds,
    peer: Option<SocketAddr>,
}

/// Processes around a question.
#[derive(Debug, Default)]
struct Around {
    nodes: Vec<Node>,
    seen: HashSet<Key>,
    /// By network namespace.
    sockets: HashMap<u32, Sockets>,
    /// Those that the process in question descends from.
    above: HashSet<Key>,
    /// The question is about one process: who else has a connection does not matter.
    only_target: bool,
}

impl Around {
    fn add(&mut self, process: &Process) {
        // Kernel threads and what has ended hold nothing.
        if !process.lives() || process.image.path.is_empty() || !self.seen.insert(process.key) {
            return;
        }
        let fds = Fds::of(process.key.pid);
        let mut peer = None;
        if !self.only_target && !fds.sockets.is_empty() {
            let sockets = self.sockets.entry(process.namespaces.net).or_insert_with(|| Sockets::of(process.key.pid));
            let peers = fds.sockets.iter().filter_map(|inode| sockets.get(*inode)?.peer);
            // What leaves the machine tells more than what stays on it.
            peer = peers.min_by_key(|p| (p.ip().is_loopback(), *p));
        }
        self.nodes.push(Node { key: process.key, fds, peer });
    }

    /// Who can put into this end, or take out of it.
    fn holders(&self, end: End, way: Way, but: Key) -> impl Iterator<Item = &Node> {
        self.nodes.iter().filter(move |n| {
            n.key != but
                && match end {
                    End::Pipe(inode) if way == Way::In => n.fds.writes.contains(&inode),
                    End::Pipe(inode) => n.fds.reads.contains(&inode),
                    End::Terminal(number) => n.fds.masters.contains(&number),
                    End::Socket(inode) => n.fds.sockets.contains(&inode),
                }
        })
    }

    /// Somebody is found at the other end of each stream.
    fn knows(&self, process: &Process) -> bool {
        let ways = process.stdio.iter().zip([Way::In, Way::Out, Way::Out]);
        let mut ends = ways.filter_map(|(stdio, way)| Some((End::of(stdio)?, way)));
        ends.all(|(end, way)| self.holders(end, way, process.key).next().is_some())
    }

    /// The processes with a connection that an end leads to, the nearest first.
    fn lead_to(&self, end: End, way: Way, from: Key, target: Option<Key>) -> Vec<&Node> {
        let mut found = Vec::new();
        let mut seen = HashSet::from([from]);
        let mut ends = vec![(end, from)];
        for _ in 0..HOPS {
            let mut next = Vec::new();
            for (end, from) in ends {
                for node in self.holders(end, way, from) {
                    if !seen.insert(node.key) {
                        continue;
                    }
                    if target.map_or(node.peer.is_some(), |t| t == node.key) {
                        found.push(node);
                    } else {
                        // It passes on what it reads from elsewhere, or to elsewhere: never what it shares by inheritance.
                        let pipes = if way == Way::In { &node.fds.reads } else { &node.fds.writes };
                        let pipes = pipes.iter().map(|p| End::Pipe(*p)).filter(|e| *e != end);
                        next.extend(pipes.map(|e| (e, node.key)));
                    }
                }
            }
            ends = next;
        }
        found
    }

    /// In from a connection and out to one: the process that serves both, or one for each, the input's first. With one
    /// for each, an output that merely goes home leads nowhere: `curl … | sh` below a build agent or sshd.
    fn relayed(&self, process: &Process, target: Option<Key>) -> Vec<&Node> {
        let [input, output, errors] = process.stdio.each_ref().map(End::of);
        let to = |end: Option<End>, way| end.map(|end| self.lead_to(end, way, process.key, target)).unwrap_or_default();
        let ins = to(input, Way::In);
        if ins.is_empty() {
            return Vec::new();
        }
        let mut outs = to(output, Way::Out);
        outs.extend(to(errors, Way::Out));
        if let Some(both) = ins.iter().find(|n| outs.iter().any(|o| o.key == n.key)) {
            return vec![*both];
        }
        let away = outs.iter().find(|out| !self.above.contains(&out.key));
        away.map(|out| vec![ins[0], *out]).unwrap_or_default()
    }
}

/// Whether there is anything to ask: it reads from something that has another end.
fn has_ends(process: &Process) -> bool {
    End::of(&process.stdio[0]).is_some()
}

/// The relays of a process, if there are any now: one, or two where input and output have different ones.
pub(crate) fn relays(table: &Table, process: &Process, allowance: &Allowance, now: u64) -> Vec<Relay> {
    if !has_ends(process) {
        return Vec::new();
    }
    let which = process.stdio.each_ref().map(End::of);
    // A shell is asked about anew: it is the one for which a moment counts.
    let shell = process.is_shell();
    if let Some(known) = allowance.known(&which, now).filter(|_| !shell) {
        return known;
    }
    let found = allowance.ask(now, shell, || {
        let mut around = Around::default();
        around.above.extend(table.ancestors(process).map(|p| p.key));
        relatives(table, process, NEAR, |p| around.add(p));
        if around.relayed(process, None).is_empty() {
            relatives(table, process, WIDE, |p| around.add(p));
        }
        // A fifo or a terminal may be held by somebody who is no relative.
        if !around.knows(process) && around.relayed(process, None).is_empty() {
            table.iter().filter(|p| p.lives()).take(STRANGERS).for_each(|p| around.add(p));
        }
        let show = |node: &Node| {
            let image = table.get(node.key).map(|p| p.image.path.clone()).unwrap_or_default();
            Some(Relay { key: node.key, image, peer: node.peer? })
        };
        Some(around.relayed(process, None).into_iter().filter_map(show).collect::<Vec<Relay>>())
    });
    let Some(found) = found else { return Vec::new() };
    allowance.keep(which, now, &found);
    found
}

/// A shell near this process whose input comes from it and whose output goes to it, and that was there at `now`, the
/// event's moment: the question comes later, and what the process has started since is no part of it.
pub(crate) fn fed_shell(table: &Table, process: &Process, allowance: &Allowance, now: u64) -> Option<Key> {
    let mut shells = Vec::new();
    relatives(table, process, WIDE, |p| shells.push(p));
    shells.retain(|p| p.is_shell() && p.key != process.key && p.start <= now && has_ends(p));
    if shells.is_empty() {
        return None;
    }
    allowance.ask(now, true, || {
        let mut around = Around { only_target: true, ..Around::default() };
        around.add(process);
        // Who holds no other end feeds nobody: most of what connects is done with here.
        let own = &around.nodes.first()?.fds;
        if own.masters.is_empty() && own.reads.is_empty() && own.writes.is_empty() && own.sockets.len() < 2 {
            return None;
        }
        [NEAR, WIDE].into_iter().find_map(|most| {
            relatives(table, process, most, |p| around.add(p));
            let fed = |shell: &&&Process| !around.relayed(shell, Some(process.key)).is_empty();
            shells.iter().find(fed).map(|shell| shell.key)
        })
    })
}

/// Living ancestors, what the parent and its parent have borne, and what the process itself has: at most `most` of each.
fn relatives<'a>(table: &'a Table, process: &'a Process, most: usize, mut each: impl FnMut(&'a Process)) {
    let ancestors: Vec<&Process> = table.ancestors(process).take(8).collect();
    ancestors.iter().copied().filter(|p| p.lives()).for_each(&mut each);
    table.living_below(process, most).into_iter().for_each(&mut each);
    for upper in ancestors.iter().take(2).filter(|p| p.key.pid != 1) {
        table.living_below(upper, most).into_iter().for_each(&mut each);
    }
}

#[cfg(test)]
mod tests;

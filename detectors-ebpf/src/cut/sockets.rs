//! The sockets that an order ends: which they are, and their end, in whatever network namespaces the cgroup's threads are.
//!
//! Keeps true: a socket is ended for where it was born and what it is connected to, never for its number alone. What was born in
//! the cgroup and has no peer stays: its packets are dropped. What its processes brought along from elsewhere is not seen by the
//! hooks, so that it is ended whatever it is, but for a listener that others have open too; what of it cannot be ended is told, also what
//! sock_diag does not list (raw, packet, not connected yet).

use super::diag::{self, One};
use super::files::Open;
use super::group::Group;
use crate::cut::probe::inside;
use quell_model::{CutOpen, CutRule, CutSockets};
use std::collections::HashSet;
use std::fs::File;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, Instant};

/// So long whoever was moved may take to connect what they made a moment before: then it can be ended. Whoever keeps it idle
/// longer is told.
const AFTER: Duration = Duration::from_millis(10);

/// Says who has which sockets open, all of this machine.
pub(super) type Look<'a> = &'a dyn Fn() -> Result<Vec<Open>, String>;

/// Whom a rule ends.
struct Ends<'a> {
    rule: &'a CutRule,
    group: Group,
    /// None for the whole machine, where all were born.
    open: Vec<Open>,
    /// Of those, the inodes that its processes have.
    held: HashSet<u64>,
    /// And those that somebody else has.
    elsewhere: HashSet<u64>,
}

/// What may become of a socket that a rule ends.
enum End {
    /// Not this rule's.
    None,
    /// It is destroyed.
    Destroyed,
    /// It is not, and why.
    Stays(&'static str),
}

/// UDP that was born elsewhere: it is disconnected, and may send again at once (net/ipv4/udp.c `udp_abort`).
const MOMENT: &str = "it was opened elsewhere, and the kernel ends it for a moment only";
const SHARED: &str = "it was opened elsewhere, and processes that are not cut off have it open too";
const UNLISTED: &str = "it was opened elsewhere, and the kernel lets nobody end it";
const UNHOOKED: &str = "no cut sees what it sends and receives";

impl<'a> Ends<'a> {
    fn of(group: &Path, rule: &'a CutRule, look: Look<'_>) -> Result<Self, String> {
        let group = Group::read(group)?;
        let open = if group.is_root() { Vec::new() } else { look()? };
        Ok(Self::among(rule, group, open))
    }

    fn among(rule: &'a CutRule, group: Group, open: Vec<Open>) -> Self {
        let inodes = |is_held| {
            let its = open.iter().filter(|one| group.holds(one.holder, one.tgid) == is_held);
            its.map(|one| one.inode).collect()
        };
        let (held, elsewhere) = (inodes(true), inodes(false));
        Self { rule, group, open, held, elsewhere }
    }

    /// Whether the hooks see it.
    fn is_born(&self, one: &One) -> bool {
        self.group.is_root() || one.cgroup.is_some_and(|number| self.group.numbers.contains(&number))
    }

    fn end(&self, one: &One) -> End {
        let is_born = self.is_born(one);
        if !is_born && !self.held.contains(&one.inode) {
            return End::None;
        }
        let isolates = matches!(self.rule, CutRule::Isolate { .. });
        let is_meant = match one.peer() {
            Some(peer) => self.rule.ends(peer.ip(), peer.port(), one.local().port()),
            None => !is_born && isolates,
        };
        match is_meant {
            false => End::None,
            true if is_born => End::Destroyed,
            true if one.is_udp() => End::Stays(MOMENT),
            true if one.peer().is_none() && self.elsewhere.contains(&one.inode) => End::Stays(SHARED),
            true => End::Destroyed,
        }
    }

    /// What its processes have open that neither a hook sees nor sock_diag lists.
    fn loose<'b>(&'b self, listed: &'b HashSet<u64>) -> impl Iterator<Item = (&'b Open, &'static str)> {
        let mut told = HashSet::new();
        let isolates = matches!(self.rule, CutRule::Isolate { .. });
        let held = self.open.iter().filter(|one| self.group.holds(one.holder, one.tgid));
        held.filter_map(move |one| {
            let why = match (one.is_hooked(), self.group.numbers.contains(&one.born)) {
                (false, _) => UNHOOKED,
                (true, false) => UNLISTED,
                (true, true) => return None,
            };
            let is_it = isolates && !listed.contains(&one.inode) && !one.is_ended() && told.insert(one.inode);
            is_it.then_some((one, why))
        })
    }

    /// Whether something that was opened elsewhere may be connected yet.
    fn may_connect(&self) -> bool {
        let is_foreign = |one: &&Open| !self.group.numbers.contains(&one.born);
        let held = self.open.iter().filter(|one| self.group.holds(one.holder, one.tgid));
        matches!(self.rule, CutRule::Isolate { .. }) && held.filter(is_foreign).any(Open::may_connect)
    }

    /// Its threads' network namespaces, and this process's own: what was made here may be used there.
    fn namespaces(&self) -> Result<Vec<File>, String> {
        let mut found = self.group.namespaces()?;
        let own = File::open("/proc/thread-self/ns/net").map_err(|e| format!("no network namespace here: {e}"))?;
        let number = |file: &File| file.metadata().ok().map(|meta| meta.ino());
        if !found.iter().any(|one| number(one) == number(&own)) {
            found.push(own);
        }
        Ok(found)
    }

    /// Does it in each namespace.
    fn each<T: Send>(
        &self,
        what: impl Fn(&Self) -> Result<T, String> + Sync,
    ) -> Result<Vec<Result<T, String>>, String> {
        let done = |namespace: &File| inside(Some(namespace), || what(self)).and_then(|done| done);
        Ok(self.namespaces()?.iter().map(done).collect())
    }

    /// Ends them in the network namespace of this thread; with the inodes of all that are listed there.
    fn destroy_here(&self) -> Result<(CutSockets, HashSet<u64>), String> {
        let (mut ended, mut all) = (Vec::new(), CutSockets::default());
        let listed = listed()?;
        for one in &listed {
            match self.end(one) {
                End::None => {}
                End::Stays(why) => {
                    // UDP is ended for that moment all the same: what is connected has to be connected again.
                    if one.is_udp()
                        && let Err(error) = diag::destroy(one)
                    {
                        tracing::debug!(%error, socket = one.told(), "a socket is not ended");
                    }
                    all.left.push(format!("{}: {why}", one.told()));
                }
                End::Destroyed => match diag::destroy(one) {
                    Ok(()) => ended.push(one),
                    Err(error) => all.left.push(format!("{}: {error}", one.told())),
                },
            }
        }
        let stands = if ended.is_empty() { Vec::new() } else { self::listed()? };
        for one in ended {
            let is_there = |other: &One| other.inode == one.inode && !matches!(self.end(other), End::None);
            if one.inode != 0 && stands.iter().any(is_there) {
                all.left.push(format!("{}: the kernel lets it go on", one.told()));
            } else {
                all.destroyed.push(one.told());
            }
        }
        Ok((all, inodes(&listed)))
    }

    fn destroy(&self) -> Result<CutSockets, String> {
        let (mut all, mut known) = (CutSockets::default(), HashSet::new());
        for one in self.each(Self::destroy_here)? {
            match one {
                Ok((one, listed)) => {
                    all.destroyed.extend(one.destroyed);
                    all.left.extend(one.left);
                    known.extend(listed);
                }
                Err(why) => all.left.push(why),
            }
        }
        all.left.extend(self.loose(&known).map(|(one, why)| format!("{}: {why}", one.told())));
        Ok(all)
    }
}

fn listed() -> Result<Vec<One>, String> {
    diag::all().map_err(|e| format!("the sockets cannot be listed: {e}"))
}

fn inodes(listed: &[One]) -> HashSet<u64> {
    listed.iter().map(|one| one.inode).filter(|inode| *inode != 0).collect()
}

/// Those that the rule would end, for people.
pub(super) fn found(group: &Path, rule: &CutRule, look: Look<'_>) -> Result<CutOpen, String> {
    let ends = Ends::of(group, rule, look)?;
    let (mut all, mut known) = (CutOpen::default(), HashSet::new());
    for one in ends.each(|_| listed())? {
        let listed = one?;
        for one in &listed {
            match ends.end(one) {
                End::None => {}
                End::Destroyed => all.ends.push(one.told()),
                End::Stays(why) => all.stays.push(format!("{}: {why}", one.told())),
            }
        }
        known.extend(inodes(&listed));
    }
    all.stays.extend(ends.loose(&known).map(|(one, why)| format!("{}: {why}", one.told())));
    Ok(all)
}

/// Ends them; again, for a moment, while something that was made elsewhere may yet be connected.
pub(super) fn destroy(group: &Path, rule: &CutRule, look: Look<'_>) -> Result<CutSockets, String> {
    let mut destroyed = Vec::new();
    let begun = Instant::now();
    loop {
        let ends = Ends::of(group, rule, look)?;
        let round = ends.destroy()?;
        destroyed.extend(round.destroyed);
        if !ends.may_connect() || begun.elapsed() >= AFTER {
            return Ok(CutSockets { destroyed, left: round.left });
        }
        std::thread::yield_now();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nobody_lists_is_told_where_it_was_made_elsewhere_and_held_here() {
        let rule = CutRule::Isolate { allow: Vec::new(), loopback: false };
        let group = || Group { numbers: [10, 11].into(), ..Group::default() };
        let open = vec![
            Open::idle(11, 5, 100, 7),  // made elsewhere, had here
            Open::idle(11, 5, 100, 8),  // by two
            Open::idle(10, 11, 101, 7), // made here
            Open::idle(5, 5, 102, 9),   // not had here
            Open::idle(11, 5, 103, 7),  // listed
        ];
        let ends = Ends::among(&rule, group(), open.clone());
        let listed = HashSet::from([103]);
        let told: Vec<String> = ends.loose(&listed).map(|(one, why)| format!("{}: {why}", one.told())).collect();
        assert_eq!(told, [format!("a tcp socket that is not connected of process 7: {UNLISTED}")]);
        assert!(ends.may_connect());
        let block = CutRule::Block { peers: Vec::new(), ports: Vec::new(), outward: true, inward: true };
        let ends = Ends::among(&block, group(), open);
        assert!(ends.loose(&listed).next().is_none() && !ends.may_connect(), "one peer is kept away, not all");
    }
}

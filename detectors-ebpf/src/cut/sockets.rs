//! The sockets that an order ends: which they are, and their end, in whatever network namespaces the cgroup's processes are.
//!
//! Keeps true: a socket is ended for where it was born and what it is connected to, never for its number alone. What was born in
//! the cgroup and has no peer stays: its packets are dropped. What its processes brought along from elsewhere is not seen by the
//! hooks, so that it is ended whatever it is; what of it cannot be ended is told.

use super::diag::{self, One};
use super::group::Group;
use crate::cut::probe::inside;
use quell_model::{CutRule, CutSockets};
use std::collections::HashSet;
use std::path::Path;

/// Whom a rule ends.
struct Ends<'a> {
    rule: &'a CutRule,
    group: Group,
    /// What its processes have open; empty for the whole machine, where all were born.
    open: HashSet<u64>,
}

impl<'a> Ends<'a> {
    fn of(group: &Path, rule: &'a CutRule) -> Result<Self, String> {
        let group = Group::read(group)?;
        let open = if group.is_root() { HashSet::new() } else { group.sockets()? };
        Ok(Self { rule, group, open })
    }

    /// Whether the hooks see it.
    fn is_born(&self, one: &One) -> bool {
        self.group.is_root() || one.cgroup.is_some_and(|number| self.group.numbers.contains(&number))
    }

    fn has(&self, one: &One) -> bool {
        let is_born = self.is_born(one);
        if !is_born && !self.open.contains(&one.inode) {
            return false;
        }
        match one.peer() {
            Some(peer) => self.rule.ends(peer.ip(), peer.port(), one.local().port()),
            None => !is_born && matches!(self.rule, CutRule::Isolate { .. }),
        }
    }

    /// Does it in each namespace.
    fn each<T: Send>(&self, what: impl Fn(&Self) -> Result<T, String> + Sync) -> Result<Vec<T>, String> {
        let namespaces = self.group.namespaces()?;
        namespaces.iter().map(|namespace| inside(Some(namespace), || what(self))?).collect()
    }
}

fn listed() -> Result<Vec<One>, String> {
    diag::all().map_err(|e| format!("the sockets cannot be listed: {e}"))
}

/// Those that the rule would end, for people.
pub(super) fn found(group: &Path, rule: &CutRule) -> Result<Vec<String>, String> {
    let ends = Ends::of(group, rule)?;
    let told = ends.each(|ends| Ok(listed()?.iter().filter(|one| ends.has(one)).map(One::told).collect::<Vec<_>>()))?;
    Ok(told.into_iter().flatten().collect())
}

/// Ends them.
pub(super) fn destroy(group: &Path, rule: &CutRule) -> Result<CutSockets, String> {
    let ends = Ends::of(group, rule)?;
    let all = ends.each(|ends| {
        let (mut ended, mut all) = (Vec::new(), CutSockets::default());
        for one in listed()?.into_iter().filter(|one| ends.has(one)) {
            match diag::destroy(&one) {
                Ok(()) => ended.push(one),
                Err(error) => all.left.push(format!("{}: {error}", one.told())),
            }
        }
        let stands = listed()?;
        for one in ended {
            let is_there = |other: &One| other.inode == one.inode && ends.has(other);
            if one.is_udp() && !ends.is_born(&one) {
                // It is disconnected, and may send again at once (net/ipv4/udp.c `udp_abort`).
                let why = "it was opened elsewhere, and the kernel ends it for a moment only";
                all.left.push(format!("{}: {why}", one.told()));
            } else if one.inode != 0 && stands.iter().any(is_there) {
                all.left.push(format!("{}: the kernel lets it go on", one.told()));
            } else {
                all.destroyed.push(one.told());
            }
        }
        Ok(all)
    })?;
    let mut whole = CutSockets::default();
    for one in all {
        whole.destroyed.extend(one.destroyed);
        whole.left.extend(one.left);
    }
    Ok(whole)
}

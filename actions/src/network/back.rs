//! Bringing back those who were moved, once nothing cuts their cgroup off any more: whoever ended the last order does it, an undo, the kernel's
//! own clock, or `quell uninstall`.
//!
//! Keeps true: nobody leaves a cgroup on which anybody's order stands; each goes where it was, or where what it was in was made; who has got
//! the number of one who left is not moved; a cgroup that quell made goes with the last who was in it. However many cgroups and processes others
//! make, it ends within a bound, and what it did not come to is told as staying.

use super::moved::{NAME, put};
use super::origins::Origins;
use crate::process::cgroup::container_id;
use crate::process::identity::{Held, cannot};
use crate::process::pace::{Over, Pace, on_own_thread};
use crate::world::{CgroupKind, HostWorld};
use quell_model::ActionError;
use std::cmp::Reverse;
use std::collections::{BTreeSet, VecDeque};
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Levels of the hierarchy that are looked into.
const DEPTH: usize = 32;
/// So many are held at a time.
const AT_ONCE: usize = 64;
/// Who has ended is in a cgroup for a moment yet; whoever makes one cuts it off sooner.
const LINGER: Duration = Duration::from_secs(5);

const BY_HAND: &str = "move who is left in a cgroup `quell-moved-…` back by its `cgroup.procs`";
/// For all who are to be brought back; the kernel takes some 8 ms for each.
const BRINGING: Duration = Duration::from_secs(10);

/// Says whether anybody's order stands on a cgroup.
pub type Holds<'a> = &'a (dyn Fn(&Path) -> Result<bool, String> + Sync);

/// What was brought back.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Back {
    /// Processes.
    pub moved: u32,
    /// What stays, and why.
    pub stays: Vec<String>,
}

/// Who calls for it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum While {
    /// Somebody else may be about to cut off what has just been made: that is left, and who has just ended is not waited for. The next
    /// call sees to both.
    Working,
    /// Nobody is.
    Leaving,
}

/// Brings back everyone whose cgroup quell made and nothing cuts off, on all of this host. Blocks, within a bound: for a thread of the caller's own.
#[must_use]
pub fn bring_back(world: &HostWorld, holds: Holds<'_>, at: While) -> Back {
    let Some(root) = world.root(CgroupKind::V2) else { return Back::default() };
    let linger = if at == While::Working { Duration::ZERO } else { LINGER };
    on_own_thread(below(world, root, &Origins::default(), holds, linger))
}

/// The same around a cgroup that quell made, or that lies in one: the outermost of those, with all below; `known` is where they were, beside
/// what is written there.
pub(super) async fn around(world: &HostWorld, dir: &Path, known: &Origins, holds: Holds<'_>) -> Back {
    match dir.ancestors().filter(|above| is_made(above)).last() {
        Some(top) => below(world, top, known, holds, LINGER).await,
        None => Back::default(),
    }
}

async fn below(world: &HostWorld, top: &Path, known: &Origins, holds: Holds<'_>, linger: Duration) -> Back {
    let (mut back, mut pace) = (Back::default(), Pace::no_longer_than(BRINGING));
    let (all, over) = find(top, &mut pace).await;
    // What was found is seen to; what was not stays for the next call.
    let stays = |over: Over| over.of("the tree of cgroups", BY_HAND).to_string();
    back.stays.extend(over.map(stays));
    pace.again();
    let until = Instant::now() + linger;
    for dir in all {
        if let Err(over) = pace.step().await {
            back.stays.push(stays(over));
            break;
        }
        if linger.is_zero() && is_young(&dir) {
            back.stays.push(format!("`{}` was made just now", dir.display()));
            continue;
        }
        match holds(&dir) {
            Ok(true) => {}
            Ok(false) => {
                if let Err(error) = empty(world, &dir, (known, holds, until), (&mut pace, &mut back)).await {
                    back.stays.push(error.to_string());
                }
            }
            Err(why) => back.stays.push(format!("`{}`: {why}", dir.display())),
        }
    }
    back
}

/// Those that quell made, the deepest first, and whether there were more than are looked through. What a user or a container may have made is
/// looked through last, the shallow before the deep: there may be as much of it as they like.
async fn find(top: &Path, pace: &mut Pace) -> (Vec<PathBuf>, Option<Over>) {
    let mut found = Vec::new();
    let (mut ours, mut theirs) = (vec![(top.to_owned(), DEPTH)], VecDeque::new());
    let mut over = None;
    'all: loop {
        let (next, trusted) = match ours.pop() {
            Some(next) => (Some(next), true),
            None => (theirs.pop_front(), false),
        };
        let Some((dir, depth)) = next else { break };
        let below = fs::read_dir(&dir).into_iter().flatten().flatten().filter(|_| depth > 0);
        for entry in below.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())) {
            if let Err(past) = pace.step().await {
                over = Some(past);
                ours.push((dir, depth));
                break 'all;
            }
            let is_theirs = entry.file_name().to_str().is_none_or(|name| container_id(name).is_some());
            if trusted && !is_theirs && entry.metadata().is_ok_and(|meta| meta.uid() == 0) {
                ours.push((entry.path(), depth - 1));
            } else {
                theirs.push_back((entry.path(), depth - 1));
            }
        }
        if is_made(&dir) && dir.is_dir() {
            found.push(dir);
        }
    }
    // Of what was seen and not looked into, what is called so is seen to as well.
    let seen = ours.into_iter().chain(theirs).map(|(dir, _)| dir);
    found.extend(seen.filter(|dir| is_made(dir)));
    found.sort_by_key(|dir| Reverse(dir.components().count()));
    (found, over)
}

/// Whether it is called as quell calls those that it makes.
fn is_made(dir: &Path) -> bool {
    dir.file_name().and_then(|name| name.to_str()).is_some_and(|name| name.starts_with(NAME))
}

fn is_young(dir: &Path) -> bool {
    let made = fs::metadata(dir).and_then(|meta| meta.modified());
    made.is_ok_and(|made| made.elapsed().is_ok_and(|age| age < LINGER))
}

/// Brings back whoever is in it, and removes it.
async fn empty(
    world: &HostWorld,
    dir: &Path,
    (known, holds, until): (&Origins, Holds<'_>, Instant),
    (pace, back): (&mut Pace, &mut Back),
) -> Result<(), ActionError> {
    let Some(root) = world.root(CgroupKind::V2) else { return Ok(()) };
    let mut origins = Origins::read(dir);
    origins.add(known.clone());
    let made_in = dir.parent().unwrap_or(root);
    let over = |over: Over| over.of(&format!("the cgroup `{}`", dir.display()), BY_HAND);
    loop {
        let pids: Vec<u32> = who_is_in(dir).into_iter().collect();
        for some in pids.chunks(AT_ONCE) {
            for one in hold(world, dir, some)? {
                pace.step().await.map_err(over)?;
                let pid = one.stat.pid;
                let was = origins.of(world, pid).map(|path| root.join(path.trim_start_matches('/')));
                let was = was.unwrap_or_else(|| made_in.to_owned());
                let there = place(root, &was, holds);
                // Its number is somebody else's only once it has ended.
                if one.is_dead() {
                    continue;
                }
                put(pid, &there)?;
                back.moved += 1;
                if !is_made(&was) && there != was {
                    back.stays.push(format!("`{}` is gone: process {pid} is in `{}`", was.display(), there.display()));
                }
            }
        }
        match fs::remove_dir(dir) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Ok(()) => return Ok(()),
            // What is below it does not go by waiting.
            Err(error) if Instant::now() >= until || has_below(dir) => {
                back.stays.push(format!("`{}` stays: {error}", dir.display()));
                return Ok(());
            }
            Err(_) => pace.beside().await,
        }
    }
}

/// Whose numbers a cgroup shows. 0 stands for one outside of this pid namespace: nobody can name it here.
fn who_is_in(dir: &Path) -> BTreeSet<u32> {
    let pids = fs::read_to_string(dir.join("cgroup.procs")).unwrap_or_default();
    pids.lines().filter_map(|line| line.parse().ok()).filter(|pid| *pid != 0).collect()
}

/// Takes those of these numbers who are in the cgroup: what it shows once they are held is about them, as long as they live.
fn hold(world: &HostWorld, dir: &Path, pids: &[u32]) -> Result<Vec<Held>, ActionError> {
    let mut all = Vec::new();
    for pid in pids {
        all.extend(Held::take_number(world, *pid).map_err(|error| cannot("opened", &pid.to_string(), &error))?);
    }
    let there = who_is_in(dir);
    all.retain(|one| there.contains(&one.stat.pid) && !one.is_dead());
    Ok(all)
}

fn has_below(dir: &Path) -> bool {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    entries.into_iter().any(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
}

/// The nearest that is there, from this one up: none that quell made for another cut that is over.
fn place(root: &Path, was: &Path, holds: Holds<'_>) -> PathBuf {
    let is_place = |dir: &&Path| dir.join("cgroup.procs").exists() && (!is_made(dir) || holds(dir).unwrap_or(false));
    let within = was.ancestors().take_while(|above| above.starts_with(root));
    within.into_iter().find(is_place).unwrap_or(root).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Family;

    #[test]
    fn cgroups_that_somebody_makes_at_will_hide_nobody_who_is_to_be_brought_back() {
        let family = Family::new();
        let root = family.dir().join("cgroup");
        let theirs = root.join("user.slice/theirs");
        for number in 0..20 {
            fs::create_dir_all(theirs.join(number.to_string())).unwrap();
        }
        std::os::unix::fs::chown(&theirs, Some(65_534), None).unwrap();
        let moved = [root.join(format!("a.service/{NAME}1-1")), root.join(format!("a.service/{NAME}1-1/b/{NAME}2-2"))];
        fs::create_dir_all(&moved[1]).unwrap();
        let (found, over) = on_own_thread(find(&root, &mut Pace::of_steps(10)));
        assert_eq!(found, [moved[1].clone(), moved[0].clone()], "the deepest first");
        let why = over.unwrap().of("the tree of cgroups", BY_HAND).to_string();
        assert!(why.contains("10 cgroups and processes were"), "{why}");
        assert!(on_own_thread(find(&root, &mut Pace::begin())).1.is_none(), "it has an end");
    }

    #[test]
    fn who_has_the_number_of_one_who_left_is_not_brought_back() {
        let family = Family::new();
        let Some(dir) = family.group(CgroupKind::V2) else { return };
        let world = family.world();
        let (inside, outside, ended) =
            (family.spawn("exec sleep 300"), family.spawn("exec sleep 300"), family.spawn("exit 0"));
        put(inside, &dir).unwrap();
        crate::testing::wait_until("it has ended", || {
            Held::take_number(&world, ended).unwrap().is_none_or(|one| one.is_dead())
        });
        let held = hold(&world, &dir, &[inside, outside, ended]).unwrap();
        assert_eq!(held.iter().map(|one| one.stat.pid).collect::<Vec<_>>(), [inside]);
    }
}

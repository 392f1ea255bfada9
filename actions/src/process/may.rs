//! What the kernel would refuse of an act, asked while it is planned.
//!
//! Owns the questions: signal 0, the access of a file, the opening of one. They change nothing, and no identity need be compared for
//! them. Keeps true: what may be done is not told of, and of a crowd the first few are.

use super::cgroup::Group;
use super::scope::{Circle, Member};
use crate::world::HostWorld;
use rustix::fs::{Access, AtFlags, CWD, accessat};
use rustix::io::Errno;
use rustix::process::{Pid, test_kill_process};
use std::path::Path;

/// Told of one by one.
const TOLD: usize = 3;
const AS_ROOT: &str = "hint: run quell as root, or with the permissions that `quell action show` lists";

/// Who of them cannot be signalled.
pub(crate) fn signal(circle: &Circle) -> Vec<String> {
    let refused = |member: &&Member| {
        let pid = i32::try_from(member.stat.pid).ok().and_then(Pid::from_raw);
        pid.is_some_and(|pid| test_kill_process(pid) == Err(Errno::PERM))
    };
    told(circle.members.iter().filter(refused).map(|member| member.stat.label()), "signalled")
}

/// Whether a file of a cgroup's that holds or ends all of it cannot be written.
pub(crate) fn write(group: &Group, name: &str) -> Vec<String> {
    let file = group.dir().join(name);
    let refused = |error: Errno| matches!(error, Errno::ACCESS | Errno::PERM | Errno::ROFS);
    let asked = accessat(CWD, &file, Access::WRITE_OK, AtFlags::EACCESS);
    told(asked.err().filter(|error| refused(*error)).map(|_| file.display().to_string()).into_iter(), "written")
}

/// Whether what /proc has of a process cannot be read: these files of it.
pub(crate) fn read(world: &HostWorld, pid: u32, names: &[&str]) -> Vec<String> {
    let files = names.iter().map(|name| world.of(pid, name));
    told(files.filter(|file| is_closed(file)).map(|file| file.display().to_string()), "read")
}

fn is_closed(file: &Path) -> bool {
    // /proc asks whether one may trace the process when it is opened, and not before.
    std::fs::File::open(file).is_err_and(|error| error.kind() == std::io::ErrorKind::PermissionDenied)
}

fn told(refused: impl Iterator<Item = String>, verb: &str) -> Vec<String> {
    let all: Vec<String> = refused.collect();
    let first: Vec<&str> = all.iter().take(TOLD).map(String::as_str).collect();
    let more = all.len().saturating_sub(TOLD);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    let line = || format!("{}{more} cannot be {verb} by quell's user; {AS_ROOT}", first.join(", "));
    (!all.is_empty()).then(line).into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::super::{capture, crew, freeze, kill};
    use super::*;
    use crate::testing::Family;
    use quell_model::world::Verb;
    use quell_model::{Plan, ProcessId};
    use rustix::thread::{set_thread_res_gid, set_thread_res_uid};
    use serde_json::json;

    /// The plan of each verb on this process, made by a thread of this user.
    fn plans(family: &Family, id: &ProcessId, uid: u32) -> Vec<Plan> {
        let verbs = crew(family.world());
        let plan_all = move || {
            set_thread_res_gid(
                rustix::process::Gid::from_raw(uid),
                rustix::process::Gid::from_raw(uid),
                rustix::process::Gid::from_raw(uid),
            )
            .unwrap();
            let user = rustix::process::Uid::from_raw(uid);
            set_thread_res_uid(user, user, user).unwrap();
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            let mut plans = Vec::new();
            for name in [kill::SPEC.name, freeze::SPEC.name, capture::SPEC.name] {
                let verb = verbs.iter().find(|verb| verb.spec().name == name).unwrap();
                let Verb::Acts(action) = verb else { panic!("{name} acts") };
                plans.push(runtime.block_on(action.plan(&json!({ "process": id }))).unwrap());
            }
            plans
        };
        std::thread::scope(|scope| scope.spawn(plan_all).join().unwrap())
    }

    #[test]
    fn a_plan_says_what_an_ordinary_user_may_not_do_and_nothing_of_what_root_may() {
        if !rustix::process::geteuid().is_root() {
            eprintln!("NOT TESTED: what an ordinary user may not do: another user needs root");
            return;
        }
        let family = Family::new();
        let id = family.id(family.spawn("exec sleep 300"));
        for (plan, verb) in plans(&family, &id, 65_534).iter().zip(["signalled", "signalled", "read"]) {
            let all = plan.would_fail.join("\n");
            assert!(all.contains(&format!("cannot be {verb} by quell's user")) && all.contains("hint:"), "{plan:?}");
        }
        for plan in plans(&family, &id, 0) {
            assert_eq!(plan.would_fail, Vec::<String>::new());
        }
    }

    #[test]
    fn of_many_the_first_few_are_named() {
        let many = told((0..9).map(|n| format!("p{n}")), "signalled");
        assert!(many[0].starts_with("p0, p1, p2 and 6 more cannot be signalled"), "{many:?}");
        assert!(told(std::iter::empty(), "signalled").is_empty());
    }
}

//! `quell uninstall`: cancels what runs, thaws what quell froze, removes its cgroups and pins, and says what it did. Data stays.

use super::escape::escape;
use super::term::Ink;
use super::{Exit, Fail, Global, Term, place};
use crate::daemon::{self, Left};
use quell_model::StoreError;

/// See [`run`].
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example:\n  sudo systemctl stop quell && sudo quell uninstall\n\nThe data directory stays: the journal and the evidence are yours."
)]
pub(crate) struct Args {}

const AS_ROOT: &str = "become root: `sudo quell uninstall`";

/// Takes everything back.
pub(crate) fn run(_: &Args, global: &Global, term: &Term) -> Result<Exit, Fail> {
    let dir = place::for_client(global.data_dir.as_deref());
    let is_root = rustix::process::geteuid().is_root();
    let left = daemon::leave(&dir, daemon::node(), daemon::me()).map_err(|e| match e {
        StoreError::Taken { .. } => {
            Fail::usage(format!("a daemon still runs: {e}")).hint("end it first: `systemctl stop quell`, or SIGTERM")
        }
        StoreError::Newer(_) => Fail::usage(format!("`{}`: {e}", dir.display())).hint(super::NEWER),
        other if !is_root => Fail::missing(other.to_string()).hint(AS_ROOT),
        other => Fail::not_right(other.to_string()),
    })?;
    if !is_root && left.is_nothing() {
        return Err(Fail::missing("only root can see what quell has left on this machine").hint(AS_ROOT));
    }
    if term.is_json() {
        term.document(&left);
    } else {
        print(&left, term);
    }
    match left.left_over.as_slice() {
        [] => Ok(Exit::Right),
        some if !is_root => {
            Err(Fail::missing(format!("{} things are left that only root can take back", some.len())).hint(AS_ROOT))
        }
        _ => Ok(Exit::NotRight),
    }
}

fn print(left: &Left, term: &Term) {
    let said = |what: &str, text: &str| term.line(format!("{}  {}", term.ink(Ink::Good, what), escape(text)));
    for run in &left.cancelled {
        said("ended  ", &format!("{}  (it had not ended; the next `quell up` does not go on with it)", run.id));
    }
    for thawed in &left.thawed {
        said("thawed ", &format!("{}  ({} of {})", thawed.targets.join(", "), thawed.step, thawed.id));
    }
    for one in &left.unblocked {
        said("unblock", &format!("{}  ({} struck)", one.id, one.struck));
    }
    for gone in left.removed.iter().chain(&left.pins) {
        said("removed", &gone.id.display().to_string());
    }
    for failed in &left.left_over {
        term.line(format!("{}  {}", term.ink(Ink::Bad, "left   "), escape(failed)));
    }
    if left.is_nothing() {
        term.line("nothing to do: nothing of quell's is frozen, and there is no cgroup or pin of its own");
    }
}

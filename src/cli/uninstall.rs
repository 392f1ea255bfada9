//! `quell uninstall`: says what stands, cancels what runs, thaws what quell froze, removes its cgroups and pins, and says what it
//! did. On a terminal it asks first whether what stands is to be taken back. Data stays.

use super::escape::escape;
use super::show::moment;
use super::term::Ink;
use super::{Exit, Fail, Global, Term, place};
use crate::daemon::{self, Fate, Left, Stands};
use quell_model::StoreError;
use std::io::{BufRead as _, IsTerminal as _, Write as _, stderr, stdin};

/// See [`run`].
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example:\n  sudo systemctl stop quell && sudo quell uninstall\n\nOn a terminal it lists what stands and asks; elsewhere it takes it back, unless `--keep` is given.\nThe data directory stays: the journal and the evidence are yours."
)]
pub(crate) struct Args {
    /// Takes back what stands, without asking
    #[arg(long, alias = "yes", conflicts_with = "keep")]
    undo: bool,
    /// Keeps what stands: frozen stays frozen, and what may not start or is cut off stays so until the kernel ends it
    #[arg(long)]
    keep: bool,
}

const AS_ROOT: &str = "become root: `sudo quell uninstall`";

/// Takes everything back, or keeps what stands.
pub(crate) fn run(args: &Args, global: &Global, term: &Term) -> Result<Exit, Fail> {
    let dir = place::for_client(global.data_dir.as_deref());
    let is_root = rustix::process::geteuid().is_root();
    let refused = |e: StoreError| match e {
        StoreError::Taken { .. } => {
            Fail::usage(format!("a daemon still runs: {e}")).hint("end it first: `systemctl stop quell`, or SIGTERM")
        }
        StoreError::Newer(_) => Fail::usage(format!("`{}`: {e}", dir.display())).hint(super::NEWER),
        other if !is_root => Fail::missing(other.to_string()).hint(AS_ROOT),
        other => Fail::not_right(other.to_string()),
    };
    let fate = match (args.undo, args.keep) {
        (_, true) => Fate::Keep,
        (true, _) => Fate::Undo,
        _ if stdin().is_terminal() => {
            let stands = daemon::stands(&dir).map_err(refused)?;
            if stands.is_empty() { Fate::Undo } else { asked(&stands, term)? }
        }
        _ => Fate::Undo,
    };
    let left = daemon::leave(&dir, daemon::node(), daemon::me(), fate).map_err(refused)?;
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

/// Lists what stands, and asks what becomes of it.
fn asked(stands: &[Stands], term: &Term) -> Result<Fate, Fail> {
    stands.iter().for_each(|one| term.note(format!("stands   {}", escape(&line(one)))));
    term.note("undo all of it, keep it, or stop here: u, k or s?");
    let said = |error: std::io::Error| Fail::not_right(error.to_string());
    stderr().flush().map_err(said)?;
    let mut word = String::new();
    stdin().lock().read_line(&mut word).map_err(said)?;
    fate(&word).ok_or_else(|| Fail::new(Exit::NotRight, "nothing was changed"))
}

fn fate(word: &str) -> Option<Fate> {
    match word.trim() {
        "u" | "undo" => Some(Fate::Undo),
        "k" | "keep" => Some(Fate::Keep),
        _ => None,
    }
}

/// What it is, whose, and until when.
fn line(one: &Stands) -> String {
    let owner = one.owner.as_ref().map(|owner| format!(", of {owner}")).unwrap_or_default();
    let until = one.until.map_or_else(|| ", until a person says".to_owned(), |at| format!(", until {}", moment(at)));
    format!("{} of {}{owner}{until}", one.action, one.id)
}

fn print(left: &Left, term: &Term) {
    let said = |what: &str, text: &str| term.line(format!("{}  {}", term.ink(Ink::Good, what), escape(text)));
    for one in &left.stood {
        said(if left.keeps { "stays  " } else { "stood  " }, &line(one));
    }
    for run in &left.cancelled {
        said("ended  ", &format!("{}  (it had not ended; the next `quell up` does not go on with it)", run.id));
    }
    for thawed in &left.thawed {
        said("thawed ", &format!("{}  ({} of {})", thawed.targets.join(", "), thawed.step, thawed.id));
    }
    for one in &left.unblocked {
        said("unblock", &format!("{}  ({} struck)", one.id, one.struck));
    }
    for one in &left.uncut {
        said("uncut  ", &format!("{}  ({} packets and calls dropped)", one.id, one.dropped));
    }
    if left.moved_back > 0 {
        said("brought", &format!("{} processes back to the cgroups where they were", left.moved_back));
    }
    for gone in left.removed.iter().chain(&left.pins) {
        said("removed", &gone.id.display().to_string());
    }
    for failed in &left.left_over {
        term.line(format!("{}  {}", term.ink(Ink::Bad, "left   "), escape(failed)));
    }
    if left.is_nothing() && left.stood.is_empty() {
        term.line("nothing to do: nothing of quell's is frozen, and there is no cgroup or pin of its own");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_clear_word_changes_anything() {
        assert_eq!([fate("u\n"), fate("undo\n")], [Some(Fate::Undo); 2]);
        assert_eq!([fate("k\n"), fate(" keep ")], [Some(Fate::Keep); 2]);
        assert_eq!([fate(""), fate("\n"), fate("s\n"), fate("y\n")], [None; 4]);
    }
}

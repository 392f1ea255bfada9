//! `quell init DIR`: a commented quell.yaml and escalation.yaml, a first playbook with its rule, and a .gitignore, ready for git.
//!
//! Invariant: writes nothing over what is there.

use super::term::Ink;
use super::{Exit, Fail, Term};
use serde_json::json;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

/// What is written, and where below the directory.
const FILES: &[(&str, &str)] = &[
    ("quell.yaml", include_str!("init/quell.yaml")),
    ("escalation.yaml", include_str!("../../escalation.yaml")),
    ("playbooks/shell-from-web-server/playbook.yaml", include_str!("init/playbook.yaml")),
    ("rules/shell-from-web-server.yml", include_str!("init/rule.yml")),
    (".gitignore", include_str!("init/gitignore")),
];

/// See [`run`].
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  quell init /etc/quell && quell config check /etc/quell/quell.yaml")]
pub(crate) struct Args {
    /// The directory; made when it is not there
    dir: PathBuf,
}

/// Writes the files.
pub(crate) fn run(args: &Args, term: &Term) -> Result<Exit, Fail> {
    let taken: Vec<&str> = FILES.iter().map(|(name, _)| *name).filter(|name| args.dir.join(name).exists()).collect();
    if !taken.is_empty() {
        let fail = Fail::usage(format!("`{}` already has {}", args.dir.display(), taken.join(", ")));
        return Err(fail.hint("nothing was written; give another directory"));
    }
    for (name, text) in FILES {
        write(&args.dir.join(name), text).map_err(|e| {
            let fail = Fail::missing(format!("`{}` cannot be written: {e}", args.dir.join(name).display()));
            fail.hint("give a directory that you may write to")
        })?;
    }
    let config = args.dir.join("quell.yaml");
    if term.is_json() {
        let files: Vec<_> = FILES
            .iter()
            .map(|(name, _)| json!({ "id": name, "path": args.dir.join(name).display().to_string() }))
            .collect();
        term.document(&json!({ "dir": args.dir.display().to_string(), "files": files }));
    } else {
        for (name, _) in FILES {
            term.line(format!(
                "{}  {}",
                term.ink(Ink::Good, "wrote"),
                term.ink(Ink::Plain, &args.dir.join(name).display().to_string())
            ));
        }
        term.note("");
        term.hint(&format!("`quell config check {0}`, then `sudo quell up --config {0}`", config.display()));
        term.hint("put yourself into escalation.yaml: whoever is not named there, root apart, may not use the daemon");
    }
    Ok(Exit::Right)
}

fn write(path: &Path, text: &str) -> std::io::Result<()> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    fs::File::create_new(path)?.write_all(text.as_bytes())
}

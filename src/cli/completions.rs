//! `quell completions SHELL`.

use super::{Cli, Exit, Fail, Term};
use clap::CommandFactory;
use clap_complete::Shell;
use serde_json::json;

/// See [`run`].
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  quell completions bash > /etc/bash_completion.d/quell")]
pub(crate) struct Args {
    /// Which shell
    shell: Shell,
}

/// Prints the script.
pub(crate) fn run(args: &Args, term: &Term) -> Result<Exit, Fail> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "quell", &mut script);
    if term.is_json() {
        term.document(&json!({ "shell": args.shell.to_string(), "script": String::from_utf8_lossy(&script) }));
    } else {
        term.raw(&script);
    }
    Ok(Exit::Right)
}

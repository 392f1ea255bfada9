//! `quell up`: the arguments of the daemon; the rest is `daemon/`'s.

use super::{Exit, Fail, Global, Term};
use crate::daemon::{self, Orders};
use quell_model::Mode;
use std::path::PathBuf;

/// See [`run`].
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  sudo quell up                        watch, plan, touch nothing\n  sudo quell up --mode enforce         act on what the shipped playbooks answer\n  sudo quell up --config /etc/quell/quell.yaml\n\nSIGTERM ends it within 15 s, SIGHUP reads the configuration's files again."
)]
pub(crate) struct Args {
    /// The configuration [default: /etc/quell/quell.yaml if it is there]
    #[arg(long, value_name = "F")]
    config: Option<PathBuf>,
    /// The ceiling over everything: observe, approve or enforce; replaces the configuration's
    #[arg(long, value_name = "M")]
    mode: Option<Mode>,
}

/// Runs until it is told to end.
pub(crate) fn run(args: Args, global: &Global, term: &Term) -> Result<Exit, Fail> {
    daemon::run(Orders { config: args.config, mode: args.mode, data_dir: global.data_dir.clone() }, term)
}

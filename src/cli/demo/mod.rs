//! `quell demo`: one staged, harmless attack, met by everything that is real: sensor, rules, playbooks, actions.
//!
//! It plays in a cgroup and a network of its own, and the guard lets nothing outside of that cgroup be touched. Where no
//! sensor can run, a recording is replayed instead, and that is said plainly.

mod actor;
mod acts;
mod link;
mod live;
mod replay;
mod stage;
mod tell;

pub(crate) use actor::ActorArgs;

use super::event_line::wait_for_end;
use super::{Exit, Fail, Term};

/// See [`run`].
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example:\n  sudo quell demo\n\nTakes a few seconds, touches nothing but processes that it starts itself, leaves nothing behind."
)]
pub(crate) struct Args {
    /// Replay the recording, also where a sensor could run
    #[arg(long)]
    replay: bool,
}

/// Plays it.
pub(crate) fn run(args: &Args, term: &Term) -> Result<Exit, Fail> {
    let end = wait_for_end()?;
    if args.replay {
        return replay::play("you asked for the recording", &end, term);
    }
    match live::play(&end, term) {
        Ok(exit) => Ok(exit),
        Err(live::NotHere::NoSensor(why)) => replay::play(&why, &end, term),
        Err(live::NotHere::Failed(fail)) => Err(fail),
    }
}

/// Plays a part in it, in a process of its own.
pub(crate) fn act(args: &ActorArgs) -> Result<Exit, Fail> {
    actor::run(args)
}

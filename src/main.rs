//! quell: the life of the process. Reads the arguments, gives them to one file in `cli/`, ends with its exit code.
//!
//! Owns nothing else. `cli/` prints and decides nothing, `daemon/` is `quell up`, `api/` is what it serves,
//! `telemetry/` what it tells of itself.

mod api;
mod cli;
mod daemon;
mod telemetry;

use clap::Parser;
use std::process::ExitCode;

#[global_allocator]
static MEMORY: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    quell_engine::run::hush_panics();
    // Wrong usage ends here with 2, help and version with 0.
    let args = match cli::Cli::try_parse() {
        Ok(args) => args,
        Err(said) => return cli::say(&said).into(),
    };
    let term = cli::Term::of_process(args.global.json);
    match cli::run(args, &term) {
        Ok(exit) => term.end(exit).into(),
        Err(fail) => {
            term.fail(&fail);
            fail.exit.into()
        }
    }
}

//! The command line: one file a subcommand; prints, decides nothing.
//!
//! A contract (scripts rely on it): data on stdout and the rest on stderr; with `--json` one document, or JSON Lines
//! for streams; the exit codes of [`Exit`].

mod action;
mod api;
mod breaker;
mod client;
mod completions;
mod config;
mod demo;
mod detect;
mod doctor;
mod doctor_cluster;
mod doctor_guard;
mod escape;
mod event_line;
mod exit;
mod follow;
mod idle;
mod incident;
mod incident_false_positive;
mod incident_view;
mod init;
mod junit;
mod layout;
mod mistakes;
mod oncall;
mod pause;
mod permissions;
mod permissions_compare;
pub(crate) mod place;
mod playbook;
mod playbook_from;
mod playbook_graph;
mod playbook_new;
mod playbook_promote;
mod playbook_running;
mod playbook_test;
mod remote;
mod rules;
mod run;
mod run_output;
mod run_plan;
mod run_retry;
mod run_view;
mod show;
mod silence;
mod since;
mod status;
mod store;
mod table;
mod term;
mod uninstall;
mod up;
mod watch;

pub(crate) use escape::{escape, escape_json};
pub(crate) use exit::{Exit, Fail};
pub(crate) use mistakes::draw as draw_mistakes;
pub(crate) use store::NEWER;
pub(crate) use term::Term;

use clap::{Args, Parser, Subcommand};
use std::path::PathBuf;

/// Sees an attack, contains it, proves it, tells it.
#[derive(Debug, Parser)]
#[command(
    name = "quell",
    version,
    max_term_width = 100,
    disable_help_subcommand = true,
    after_help = "Example:\n  quell demo                one attack on this machine, contained and explained\n  sudo quell up             watch this machine, touch nothing\n\nExit codes: 0 all right; 1 the thing asked about is not; 2 wrong usage or configuration;\n3 the daemon cannot be reached; 4 a permission or a kernel feature is missing."
)]
pub(crate) struct Cli {
    /// What every command takes.
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    command: Command,
}

/// What every command takes.
#[derive(Clone, Debug, Args)]
pub(crate) struct Global {
    /// Print JSON: one document, or one a line for streams
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// The daemon's data directory, with its socket [default: /var/lib/quell, or the user's state directory]
    #[arg(long, global = true, value_name = "D")]
    pub(crate) data_dir: Option<PathBuf>,
    /// A daemon that listens on TCP, in place of the socket: https://HOST:PORT [also: QUELL_API]
    #[arg(long, global = true, value_name = "URL")]
    pub(crate) api: Option<String>,
    /// The file with the token for --api [also: QUELL_TOKEN_FILE]
    #[arg(long, global = true, value_name = "F")]
    pub(crate) token_file: Option<PathBuf>,
    /// Certificates of the authority that --api is trusted by, in PEM [default: those of this machine; also: QUELL_CA_FILE]
    #[arg(long, global = true, value_name = "F")]
    pub(crate) ca_file: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Stage one harmless attack on this machine, contain it and explain it
    Demo(demo::Args),
    /// Run the daemon: sensor, engine, API
    Up(up::Args),
    /// Write a commented quell.yaml and a first playbook into a directory
    Init(init::Args),
    /// Say what works on this machine, what does not, and why
    Doctor(doctor::Args),
    /// Show whether the daemon is armed, and how it is
    Status(status::Args),
    /// Stop every action at once; detection goes on
    Pause(pause::PauseArgs),
    /// Let actions go on after a pause
    Resume(pause::ResumeArgs),
    /// Show, open or close the breakers of playbooks: what asks before it acts
    Breaker(breaker::Args),
    /// Thaw what quell froze and remove its cgroups and pins
    Uninstall(uninstall::Args),
    /// Show events as the sensor sees them
    Watch(watch::Args),
    /// Run rules over recorded events
    Detect(detect::Args),
    /// Check or show the configuration
    Config(config::Args),
    /// Check detection rules
    Rules(rules::Args),
    /// Check, list, draw, show, write or run playbooks
    Playbook(playbook::Args),
    /// List, show or change runs
    Run(run::Args),
    /// List, show, explain or change incidents
    Incident(incident::Args),
    /// Page nobody for some incidents for a while, show which, end it
    Silence(silence::Args),
    /// List or show the actions that playbooks can use
    Action(action::Args),
    /// Check who is told of incidents, and say who is on call, now and in days to come
    Oncall(oncall::Args),
    /// Check, back up or prune the journal
    Store(store::Args),
    /// Describe the daemon's API
    Api(api::Args),
    /// Print completions for a shell
    Completions(completions::Args),
    /// Does nothing: whom a start tries its hands on where there is no shell
    #[command(hide = true)]
    Idle,
    /// The demo's attacker
    #[command(hide = true)]
    DemoActor(demo::ActorArgs),
}

/// Says what the arguments themselves led to: help, the version, or what is wrong with them.
pub(crate) fn say(said: &clap::Error) -> Exit {
    let term = Term::of_process(false);
    if said.use_stderr() {
        // Nobody is left to tell when stderr itself is gone.
        drop(said.print());
        return Exit::Usage;
    }
    let text = said.render();
    term.raw(if term.has_colour() { text.ansi().to_string() } else { text.to_string() }.as_bytes());
    term.end(Exit::Right)
}

impl Command {
    /// Whether it may ask a daemon; the others look at files of this machine, or do something on it.
    fn asks_a_daemon(&self) -> bool {
        match self {
            Self::Status(_)
            | Self::Pause(_)
            | Self::Resume(_)
            | Self::Breaker(_)
            | Self::Run(_)
            | Self::Incident(_)
            | Self::Silence(_) => true,
            Self::Playbook(args) => args.asks_a_daemon(),
            Self::Demo(_)
            | Self::Up(_)
            | Self::Init(_)
            | Self::Doctor(_)
            | Self::Uninstall(_)
            | Self::Watch(_)
            | Self::Detect(_)
            | Self::Config(_)
            | Self::Rules(_)
            | Self::Action(_)
            | Self::Oncall(_)
            | Self::Store(_)
            | Self::Api(_)
            | Self::Completions(_)
            | Self::Idle
            | Self::DemoActor(_) => false,
        }
    }
}

/// Whoever names a daemon elsewhere does not mean this machine.
fn means_this_machine(global: &Global, command: &Command) -> Result<(), Fail> {
    let given = [
        ("--api", global.api.is_some()),
        ("--token-file", global.token_file.is_some()),
        ("--ca-file", global.ca_file.is_some()),
    ];
    match given.into_iter().find(|(_, is_given)| *is_given) {
        Some((flag, _)) if !command.asks_a_daemon() => {
            Err(Fail::usage(format!("`{flag}` is about a daemon elsewhere, and this works on this machine alone"))
                .hint("leave it out, or run this where that daemon is"))
        }
        _ => Ok(()),
    }
}

/// Does what was asked.
pub(crate) fn run(cli: Cli, term: &Term) -> Result<Exit, Fail> {
    let global = cli.global;
    means_this_machine(&global, &cli.command)?;
    match cli.command {
        Command::Demo(args) => demo::run(&args, term),
        Command::Up(args) => up::run(args, &global, term),
        Command::Init(args) => init::run(&args, term),
        Command::Doctor(args) => doctor::run(&args, &global, term),
        Command::Status(args) => status::run(&args, &global, term),
        Command::Pause(args) => pause::pause(&args, &global, term),
        Command::Breaker(args) => breaker::run(&args, &global, term),
        Command::Resume(args) => pause::resume(&args, &global, term),
        Command::Uninstall(args) => uninstall::run(&args, &global, term),
        Command::Watch(args) => watch::run(&args, term),
        Command::Detect(args) => detect::run(&args, term),
        Command::Config(args) => config::run(&args, &global, term),
        Command::Rules(args) => rules::run(&args, term),
        Command::Playbook(args) => playbook::run(args, &global, term),
        Command::Run(args) => run::run(&args, &global, term),
        Command::Incident(args) => incident::run(&args, &global, term),
        Command::Silence(args) => silence::run(&args, &global, term),
        Command::Action(args) => action::run(&args, term),
        Command::Oncall(args) => oncall::run(&args, term),
        Command::Store(args) => store::run(&args, &global, term),
        Command::Api(args) => api::run(&args, term),
        Command::Completions(args) => completions::run(&args, term),
        Command::Idle => Ok(idle::run()),
        Command::DemoActor(args) => demo::act(&args),
    }
}

#[cfg(test)]
mod tests;

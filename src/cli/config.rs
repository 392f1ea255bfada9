//! `quell config check|schema|show`.

use super::escape::{clip, escape};
use super::mistakes::{self, Tally};
use super::place::must_exist;
use super::table::{Table, cell};
use super::term::Ink;
use super::{Exit, Fail, Global, Term};
use crate::daemon::files::{self, Given};
use serde_json::json;
use std::path::PathBuf;

/// See [`run`].
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  quell config check quell.yaml\n  quell config show --config quell.yaml")]
pub(crate) struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// Check a configuration, with the rules and playbooks that it names
    #[command(after_help = "Example:\n  quell config check /etc/quell/quell.yaml")]
    Check {
        /// The file [default: /etc/quell/quell.yaml if it is there]
        file: Option<PathBuf>,
    },
    /// Print the JSON Schema of quell.yaml, or of escalation.yaml, for editors
    #[command(after_help = "Example:\n  quell config schema escalation > escalation.schema.json")]
    Schema {
        /// Of which file
        #[arg(default_value = "quell")]
        of: Of,
    },
    /// Show every value that holds, and where it came from
    #[command(after_help = "Example:\n  quell config show --json | jq '.[] | select(.from != \"default\")'")]
    Show {
        /// The file [default: /etc/quell/quell.yaml if it is there]
        #[arg(long, value_name = "F")]
        config: Option<PathBuf>,
    },
}

/// A file that has a schema.
#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Of {
    Quell,
    Escalation,
}

/// Checks or shows.
pub(crate) fn run(args: &Args, global: &Global, term: &Term) -> Result<Exit, Fail> {
    match &args.what {
        What::Check { file } => {
            must_exist(file)?;
            let loaded = files::load(&Given { config: file.clone(), mode: None });
            let tally = Tally::of(&loaded.mistakes);
            let shown = loaded.config.file.as_ref().or(file.as_ref()).map(|file| file.display().to_string());
            if term.is_json() {
                term.document(&json!({
                    "ok": tally.errors == 0, "file": shown, "mistakes": mistakes::as_json(&loaded.mistakes),
                    "playbooks": loaded.definitions.playbooks.len(), "rules": loaded.rules.len(),
                    "people": loaded.definitions.people.people.len(),
                    "schedules": loaded.escalation.schedules.len(), "policies": loaded.escalation.policies.len(),
                }));
            } else {
                mistakes::draw(term, &loaded.mistakes);
                if tally.errors == 0 {
                    let file = shown.unwrap_or_else(|| "no file: the defaults".to_owned());
                    term.line(format!("{}  {}", term.ink(Ink::Good, "ok"), escape(&file)));
                }
            }
            let (playbooks, rules) = (loaded.definitions.playbooks.len(), loaded.rules.len());
            let people = loaded.definitions.people.people.len();
            let known = match people {
                0 => String::new(),
                1 => ", 1 person".to_owned(),
                _ => format!(", {people} people"),
            };
            term.note(format!("{tally}; {playbooks} playbooks and {rules} rules in order{known}"));
            Ok(if tally.errors == 0 { Exit::Right } else { Exit::NotRight })
        }
        What::Schema { of } => {
            let schema = match of {
                Of::Quell => quell_engine::load::config_schema(),
                Of::Escalation => quell_engine::load::escalation_schema(),
            };
            let text = serde_json::to_string_pretty(&schema).expect("a schema has text keys only") + "\n";
            term.raw(text.as_bytes());
            Ok(Exit::Right)
        }
        What::Show { config } => {
            must_exist(config)?;
            let (mut config, mistakes) = files::config(&Given { config: config.clone(), mode: None });
            if let Some(dir) = &global.data_dir {
                config.set_data_dir(dir.clone(), "--data-dir");
            }
            if Tally::of(&mistakes).errors > 0 {
                mistakes::draw(term, &mistakes);
                return Err(Fail::not_right(format!("the configuration has {}", Tally::of(&mistakes))));
            }
            let rows = config.show();
            if term.is_json() {
                term.document(&rows);
                return Ok(Exit::Right);
            }
            let mut table = Table::new(&["key", "value", "from"]);
            for row in &rows {
                let ink = if row.from == "default" { Ink::Dim } else { Ink::Bold };
                table.row([
                    (Ink::Name, row.key.clone()),
                    cell(clip(&row.value.to_string(), 80)),
                    (ink, row.from.clone()),
                ]);
            }
            table.print(term, "");
            Ok(Exit::Right)
        }
    }
}

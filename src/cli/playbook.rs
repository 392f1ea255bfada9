//! `quell playbook check|list|show|schema|run`; `graph`, `new` and `test` have files of their own.
//!
//! What is checked is held against the actions of this build and the rules that would be loaded with it.

use super::client::Client;
use super::escape::escape;
use super::mistakes::{self, Tally};
use super::place::must_exist;
use super::table::{Table, cell};
use super::term::Ink;
use super::{Exit, Fail, Global, Term, playbook_graph, playbook_new, playbook_promote, playbook_running};
use crate::api::{Page, PlaybookStatus};
use crate::daemon::around::{self, Asked, Found};
use crate::daemon::files::{self, Given};
use quell_engine::playbook::graph;
use quell_engine::run::answers::OfRun;
use quell_engine::run::given;
use quell_model::playbook::Playbook;
use quell_model::record::RunState;
use quell_model::{Json, Mode, OwnedEvent};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// See [`run`].
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  quell playbook list\n  quell playbook check playbooks/\n  quell playbook graph contain-reverse-shell"
)]
pub(crate) struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// Check playbooks: every mistake of every file, each with its place
    #[command(
        after_help = "Examples:\n  quell playbook check --deny warnings playbooks/\n  quell playbook check --running playbooks/mine.yaml\n\nRules are taken from the paths themselves, from --rules, from what ships, and from the nearest\nquell.yaml above the first path, or --config."
    )]
    Check {
        /// Files or directories
        #[arg(required = true, value_name = "PATH")]
        paths: Vec<PathBuf>,
        /// End with 1 for warnings too
        #[arg(long, value_name = "LEVEL", value_parser = ["warnings"])]
        deny: Option<String>,
        /// Further rules that the playbooks may name
        #[arg(long, value_name = "PATH")]
        rules: Vec<PathBuf>,
        /// The configuration to hold them against [default: the nearest quell.yaml above the first path]
        #[arg(long, value_name = "F")]
        config: Option<PathBuf>,
        /// Also what the daemon's open runs have that the playbooks lack by now
        #[arg(long)]
        running: bool,
    },
    /// List the playbooks that would be loaded
    #[command(after_help = "Example:\n  quell playbook list --config quell.yaml")]
    List {
        /// The configuration [default: /etc/quell/quell.yaml if it is there]
        #[arg(long, value_name = "F")]
        config: Option<PathBuf>,
    },
    /// Draw the steps of playbooks, or of a run
    Graph(playbook_graph::Args),
    /// Write a playbook of your own to begin with: it checks clean, and only observes
    New(playbook_new::Args),
    /// Say what a playbook did and would have done, and let it go further, or less far
    Promote(playbook_promote::Args),
    /// Show playbooks as they were read; of a Rhai script, what it made
    #[command(
        after_help = "Examples:\n  quell playbook show contain-reverse-shell > playbooks/mine.yaml\n  quell playbook show --as yaml playbooks/mine.rhai"
    )]
    Show {
        /// Files, directories, or names of playbooks that ship or are installed
        #[arg(required = true, value_name = "PATH")]
        paths: Vec<PathBuf>,
        /// How: yaml
        #[arg(long = "as", default_value = "yaml", value_parser = ["yaml"])]
        form: String,
    },
    /// Test playbooks: the cases of `*.test.yaml` beside them, in a world that only answers
    Test(super::playbook_test::Args),
    /// Print the JSON Schema of playbooks, for editors
    #[command(after_help = "Example:\n  quell playbook schema > playbook.schema.json")]
    Schema,
    /// Start a playbook by hand; without a daemon only in observe mode
    #[command(
        after_help = "Examples:\n  quell playbook run contain-reverse-shell --event event.json\n  quell playbook run playbooks/mine.yaml --input reason=drill --mode observe"
    )]
    Run {
        /// A file, or the name of a playbook
        file: PathBuf,
        /// The event that it should answer: one line of a recording
        #[arg(long, value_name = "E.json")]
        event: Option<PathBuf>,
        /// An input; the value is JSON, or text when it is no JSON
        #[arg(long = "input", value_name = "K=V")]
        inputs: Vec<String>,
        /// Stricter than the playbook's own: observe, approve or enforce
        #[arg(long, value_name = "M")]
        mode: Option<Mode>,
        /// The configuration it is read by [default: the nearest quell.yaml above the file]
        #[arg(long, value_name = "F")]
        config: Option<PathBuf>,
    },
}

impl Args {
    /// Whether it may ask a daemon.
    pub(super) fn asks_a_daemon(&self) -> bool {
        match &self.what {
            What::Run { .. } | What::Promote(_) => true,
            What::Check { running, .. } => *running,
            What::List { config } => config.is_none(),
            What::Graph(args) => args.asks_a_daemon(),
            What::Test(args) => args.asks_a_daemon(),
            What::New(_) | What::Show { .. } | What::Schema => false,
        }
    }
}

/// Does one of these.
pub(crate) fn run(args: Args, global: &Global, term: &Term) -> Result<Exit, Fail> {
    match args.what {
        What::Check { paths, deny, rules, config, running } => {
            let client = running.then(|| Client::new(global)).transpose()?;
            let asked = Asked { paths: &paths, rules: &rules, config: config.as_deref() };
            check(&asked, deny.is_some(), client.as_ref(), term)
        }
        What::List { config } => list(config.as_deref(), global, term),
        What::Graph(args) => playbook_graph::run(&args, |paths| named(paths, term), global, term),
        What::Promote(args) => playbook_promote::run(&args, global, term),
        What::New(args) => playbook_new::run(&args, term),
        What::Show { paths, .. } => {
            let all = named(&paths, term)?;
            if term.is_json() {
                let with_id = |p: &Arc<Playbook>| {
                    let mut value = serde_json::to_value(p.as_ref()).unwrap_or_default();
                    value["id"] = p.name.as_str().into();
                    value
                };
                term.document(&all.iter().map(with_id).collect::<Vec<_>>());
            } else {
                for (at, playbook) in all.iter().enumerate() {
                    if at > 0 {
                        term.whole("---");
                    }
                    let text = quell_engine::load::playbook_yaml(playbook).map_err(|error| {
                        Fail::not_right(format!("`{}` has no form in YAML: {error}", playbook.name))
                    })?;
                    text.lines().for_each(|line| term.whole(escape(line)));
                }
            }
            Ok(Exit::Right)
        }
        What::Test(args) => super::playbook_test::run(&args, global, term),
        What::Schema => {
            term.raw(schema_text().as_bytes());
            Ok(Exit::Right)
        }
        What::Run { file, event, inputs, mode, config } => {
            let event = event.as_deref().map(read_event).transpose()?;
            let start = Start { event, inputs: read_inputs(&inputs)?, mode };
            run_one(&file, config.as_deref(), start, global, term)
        }
    }
}

/// The JSON Schema of playbooks with the actions of this build, as its file.
pub(super) fn schema_text() -> String {
    let schema = quell_engine::load::playbook_schema(&crate::daemon::specs());
    serde_json::to_string_pretty(&schema).expect("a schema has text keys only") + "\n"
}

fn check(asked: &Asked<'_>, strict: bool, client: Option<&Client>, term: &Term) -> Result<Exit, Fail> {
    must_exist(
        asked.paths.iter().map(PathBuf::as_path).chain(asked.rules.iter().map(PathBuf::as_path)).chain(asked.config),
    )?;
    let Found { playbooks, mut mistakes, .. } = around::gather(asked);
    if playbooks.is_empty() && mistakes.is_empty() {
        return Err(Fail::usage("there is no playbook in what was given")
            .hint("a playbook is a YAML file with the key `playbook`, or a Rhai script that calls it"));
    }
    let running = client.map(|client| playbook_running::ask(&playbooks, client)).transpose()?;
    mistakes.extend(running.iter().flat_map(|running| running.mistakes.iter().cloned()));
    let tally = Tally::of(&mistakes);
    let ok = tally.errors == 0 && !(strict && tally.warnings > 0);
    if term.is_json() {
        let list: Vec<Value> = playbooks.iter().map(|p| document(p)).collect();
        let mut document = json!({ "ok": ok, "playbooks": list, "mistakes": mistakes::as_json(&mistakes) });
        if let Some(running) = &running {
            document["running"] = json!({ "open": running.open, "of_another_text": running.pinned });
        }
        term.document(&document);
    } else {
        mistakes::draw(term, &mistakes);
        for playbook in &playbooks {
            let file = playbook.file.display().to_string();
            let on = &playbook.on;
            let by_hand = on.detections.is_none() && on.schedule.is_none() && on.incident.is_empty();
            term.line(format!(
                "{}  {}  {}{}",
                term.ink(Ink::Good, "ok"),
                term.ink(Ink::Name, playbook.name.as_str()),
                escape(&file),
                if by_hand { "  (nothing starts it by itself)" } else { "" }
            ));
        }
    }
    let n = playbooks.len();
    term.note(format!("{tally}; {n} playbook{} in order", if n == 1 { "" } else { "s" }));
    if let Some(running) = &running {
        let (open, other) = (running.open, running.pinned);
        let runs = if open == 1 { "run" } else { "runs" };
        term.note(format!("{open} open {runs} of them; {other} began with another text, which they keep"));
    }
    Ok(if ok { Exit::Right } else { Exit::NotRight })
}

/// How far playbooks may go now, as a daemon that runs by the same configuration says.
fn modes_now(config: Option<&Path>, global: &Global) -> Vec<(String, Mode, String)> {
    let client = Client::new(global).ok().filter(|client| config.is_none() && client.is_there());
    let all = client.and_then(|client| client.get::<Page<PlaybookStatus>>("/playbooks").ok());
    let one = |said: PlaybookStatus| (said.id.to_string(), said.mode, said.mode_because);
    all.into_iter().flat_map(|page| page.items).map(one).collect()
}

fn list(config: Option<&Path>, global: &Global, term: &Term) -> Result<Exit, Fail> {
    let loaded = files::load(&Given { config: config.map(Path::to_owned), mode: None });
    let Tally { errors, .. } = Tally::of(&loaded.mistakes);
    if errors > 0 {
        mistakes::draw(term, &loaded.mistakes);
    }
    let now = modes_now(config, global);
    let modes = |p: &Playbook| {
        let said = now.iter().find(|(id, ..)| *id == p.name.as_str());
        said.map_or_else(|| loaded.definitions.mode_of(p), |(_, mode, because)| (*mode, because.clone()))
    };
    if term.is_json() {
        let with_mode = |p: &Arc<Playbook>| {
            let mut value = document(p);
            let (here, because) = modes(p);
            value["mode_here"] = json!(here);
            value["mode_because"] = because.into();
            value
        };
        term.document(&loaded.definitions.playbooks.iter().map(with_mode).collect::<Vec<_>>());
    } else {
        let mut table = Table::new(&["playbook", "mode here", "started by", "from", "what it does"]);
        for playbook in &loaded.definitions.playbooks {
            let (here, _) = modes(playbook);
            let ink = if here == Mode::Enforce { Ink::Warn } else { Ink::Plain };
            table.row([
                (Ink::Name, playbook.name.to_string()),
                (ink, here.to_string()),
                cell(started_by(playbook)),
                cell(playbook.file.display().to_string()),
                cell(playbook.description.clone()),
            ]);
        }
        table.print(term, "no playbook would be loaded");
        for playbook in &loaded.definitions.playbooks {
            let (here, because) = modes(playbook);
            if here != loaded.definitions.mode_of(playbook).0 {
                term.note(format!("{}: {here} now: {}", escape(playbook.name.as_str()), escape(&because)));
            }
        }
    }
    Ok(if errors > 0 { Exit::NotRight } else { Exit::Right })
}

fn started_by(playbook: &Playbook) -> String {
    let mut all = Vec::new();
    if let Some(filter) = &playbook.on.detections {
        let names: Vec<&str> = filter.rules.iter().chain(&filter.tags).map(AsRef::as_ref).collect();
        all.push(if names.is_empty() { format!("{} and above", filter.level) } else { names.join(", ") });
    }
    if let Some(schedule) = &playbook.on.schedule {
        all.push(format!("at {} ({})", schedule.cron, schedule.time_zone));
    }
    all.extend(graph::moments(playbook));
    if all.is_empty() { "hand only".to_owned() } else { all.join("; ") }
}

fn document(playbook: &Playbook) -> Value {
    let steps: Vec<&str> = playbook.steps.iter().map(|step| step.id.as_str()).collect();
    json!({
        "id": playbook.name, "description": playbook.description, "mode": playbook.mode,
        "file": playbook.file.display().to_string(), "hash": playbook.hash,
        "detections": playbook.on.detections, "schedule": playbook.on.schedule, "incident": playbook.on.incident, "steps": steps,
    })
}

/// Playbooks of files and directories, or that ship or are installed under this name. With mistakes: they are drawn.
fn named(paths: &[PathBuf], term: &Term) -> Result<Vec<Arc<Playbook>>, Fail> {
    Ok(found(paths, None, term)?.into_iter().flat_map(|found| found.playbooks).collect())
}

/// The same of each, with what is around it.
fn found(paths: &[PathBuf], config: Option<&Path>, term: &Term) -> Result<Vec<Found>, Fail> {
    must_exist(config)?;
    let found =
        around::named(paths, config).map_err(|(name, near)| {
            let fail =
                Fail::usage(format!("`{name}` is no file, and no playbook that ships or is installed has this name"));
            fail.hint(near.map_or_else(
                || "`quell playbook list` lists them".to_owned(),
                |near| format!("did you mean `{near}`?"),
            ))
        })?;
    let mistakes: Vec<_> = found.iter().flat_map(|found| found.mistakes.iter().cloned()).collect();
    if Tally::of(&mistakes).errors > 0 {
        mistakes::draw(term, &mistakes);
        return Err(Fail::not_right(format!("not every playbook can be read: {}", Tally::of(&mistakes))));
    }
    Ok(found)
}

/// What a run begins with.
struct Start {
    event: Option<OwnedEvent>,
    inputs: Json,
    mode: Option<Mode>,
}

fn run_one(file: &Path, config: Option<&Path>, start: Start, global: &Global, term: &Term) -> Result<Exit, Fail> {
    let Start { event, inputs, mode } = start;
    let found = found(&[file.to_owned()], config, term)?;
    let around = found.first().expect("a path gives something or an error");
    let [playbook] = around.playbooks.as_slice() else {
        let count = around.playbooks.len();
        return Err(Fail::usage(format!("`{}` holds {count} playbooks; give one file", file.display())));
    };
    if let Some(why) = given::refused(event.as_ref(), &inputs) {
        return Err(Fail::usage(why));
    }
    let client = Client::new(global)?;
    if !client.is_local() || client.is_there() {
        let body =
            json!({ "playbook": playbook.name, "hash": playbook.hash, "event": event, "inputs": inputs, "mode": mode });
        let answer: OfRun = client.post("/runs", &body)?;
        let id = escape(answer.id.as_str());
        term.answer(&answer, || format!("{id} started: `quell run show {id}`"));
        return Ok(Exit::Right);
    }
    if mode.is_some_and(|mode| mode != Mode::Observe) {
        return Err(Fail::new(
            Exit::Unreachable,
            "without a daemon a playbook runs in observe mode only, and none answers",
        )
        .hint("start it with `quell up`, or leave --mode away"));
    }
    // What is not known here because a file beside it has mistakes, before something fails of it.
    let beside: Vec<_> = around.mistakes.iter().filter(|mistake| mistake.file != playbook.file).cloned().collect();
    mistakes::draw(term, &beside);
    let told = crate::daemon::rehearse(playbook, around, event, inputs)?;
    if term.is_json() {
        term.document(&told);
    } else {
        super::run_view::show(&told, term);
    }
    Ok(if told.state == RunState::Failed { Exit::NotRight } else { Exit::Right })
}

fn read_event(path: &Path) -> Result<OwnedEvent, Fail> {
    let text =
        std::fs::read_to_string(path).map_err(|e| Fail::usage(format!("`{}` cannot be read: {e}", path.display())))?;
    serde_json::from_str(&text).map_err(|e| match given::too_deep("`event`", &e) {
        Some(why) => Fail::usage(why),
        None => Fail::usage(format!("`{}` is no event: {e}", path.display()))
            .hint("`quell watch --json --count 1` prints one; `quell detect --json` has it under `event`"),
    })
}

fn read_inputs(inputs: &[String]) -> Result<Json, Fail> {
    let mut map = serde_json::Map::new();
    for input in inputs {
        let (name, value) = input
            .split_once('=')
            .ok_or_else(|| Fail::usage(format!("`{input}` is no input")).hint("expected `name=value`"))?;
        let value = match serde_json::from_str(value) {
            Ok(value) => value,
            Err(error) => match given::too_deep("`inputs`", &error) {
                Some(why) => return Err(Fail::usage(why)),
                None => Value::String(value.to_owned()),
            },
        };
        map.insert(name.to_owned(), value);
    }
    Ok(Json::Object(map))
}

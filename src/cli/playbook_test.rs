//! `quell playbook test`: the cases beside playbooks, played by the engine in a world that only answers.
//!
//! Owns the finding of files and the printing: a tree, JUnit, JSON. What a case means is the engine's.

use super::escape::escape;
use super::junit;
use super::mistakes::{self, Tally};
use super::place::must_exist;
use super::term::Ink;
use super::{Exit, Fail, Global, Term, playbook_from};
use crate::daemon::Scratch;
use crate::daemon::around::{self, Asked};
use quell_engine::detect::Rules;
use quell_engine::load::Known;
use quell_engine::trial::{self, Bench, Coverage, Miss, Suite};
use quell_model::playbook::Playbook;
use quell_model::{Mistake, RuleRef};
use serde_json::{Value, json};
use std::path::PathBuf;
use std::sync::Arc;

/// See [`run`].
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  quell playbook test playbooks/\n  quell playbook test --coverage --junit tests.xml playbooks/mine.yaml\n  quell playbook test --from run r-0f1e2d3c4b5a > playbooks/mine.test.yaml\n\nA file of cases stands beside its playbook: `mine.test.yaml` for `mine.yaml`. Ends with 1 when a case\nfails, a file has a mistake, or, with --coverage, no case reaches a step."
)]
pub(crate) struct Args {
    /// Test files, playbooks, or directories
    #[arg(required_unless_present = "from", value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// Write a test from a run of the daemon's, to standard output
    #[arg(long, num_args = 2, value_names = ["run", "ID"], conflicts_with_all = ["paths", "coverage", "junit"])]
    from: Option<Vec<String>>,
    /// Name the steps and branches that no case reaches
    #[arg(long)]
    coverage: bool,
    /// Write JUnit XML to this file
    #[arg(long, value_name = "F")]
    junit: Option<PathBuf>,
    /// Further rules that the cases may name
    #[arg(long, value_name = "PATH")]
    rules: Vec<PathBuf>,
    /// The configuration they are held against [default: the nearest quell.yaml above the first path]
    #[arg(long, value_name = "F")]
    config: Option<PathBuf>,
}

impl Args {
    /// Whether it asks a daemon.
    pub(super) fn asks_a_daemon(&self) -> bool {
        self.from.is_some()
    }
}

/// A file's cases as they went.
pub(super) struct Told {
    pub(super) file: PathBuf,
    pub(super) playbook: Arc<Playbook>,
    pub(super) cases: Vec<(String, u32, Vec<Miss>)>,
}

/// What a playbook's cases reached.
pub(super) type Reached = (Arc<Playbook>, Coverage);

/// Reads, plays, tells.
pub(crate) fn run(args: &Args, global: &Global, term: &Term) -> Result<Exit, Fail> {
    if let Some(from) = &args.from {
        return playbook_from::run(from, (&args.rules, args.config.as_deref()), global, term);
    }
    must_exist(args.paths.iter().chain(&args.rules).chain(&args.config))?;
    let asked = Asked { paths: &args.paths, rules: &args.rules, config: args.config.as_deref() };
    let mut found = around::gather(&asked);
    let mut mistakes = std::mem::take(&mut found.mistakes);
    let refs: Vec<RuleRef> = found.rules.refs().cloned().collect();
    let suites = suites(args, &found.playbooks, &found.known(&refs), &mut mistakes);
    let playbooks = &found.playbooks;
    if suites.is_empty() && Tally::of(&mistakes).errors == 0 && (!args.coverage || playbooks.is_empty()) {
        return Err(Fail::usage("there is no test in what was given")
            .hint("tests stand beside their playbook: `mine.test.yaml` for `mine.yaml`"));
    }
    let mut reached: Vec<Reached> = wanted(args, playbooks, &suites);
    let told: Vec<Told> = on_a_bench(found.rules, found.config.vars.clone(), |bench| {
        suites.iter().map(|suite| play(suite, bench, &mut reached)).collect()
    })?;
    if let Some(file) = &args.junit {
        let written =
            junit::xml(&told, if args.coverage { &reached } else { &[] }, &mistakes).map_err(std::io::Error::other);
        let written = written.and_then(|xml| std::fs::write(file, xml));
        written.map_err(|e| Fail::not_right(format!("`{}` cannot be written: {e}", file.display())))?;
    }
    let failed = told.iter().flat_map(|one| &one.cases).filter(|(.., misses)| !misses.is_empty()).count();
    let unreached: usize = reached.iter().map(|(_, coverage)| coverage.missed_steps().count()).sum();
    let errors = Tally::of(&mistakes).errors;
    let ok = failed == 0 && errors == 0 && !(args.coverage && unreached > 0);
    if term.is_json() {
        term.document(&document(ok, &told, args.coverage.then_some(&reached), &mistakes));
    } else {
        mistakes::draw(term, &mistakes);
        told.iter().for_each(|one| tree(one, term));
        if args.coverage {
            reached.iter().for_each(|one| covered(one, term));
        }
    }
    let cases: usize = told.iter().map(|one| one.cases.len()).sum();
    term.note(format!("{cases} cases, {failed} failed; {}", Tally::of(&mistakes)));
    Ok(if ok { Exit::Right } else { Exit::NotRight })
}

/// Plays on a bench of its own, in a directory that is gone afterwards.
pub(super) fn on_a_bench<T>(rules: Rules, vars: Value, play: impl FnOnce(&Bench) -> T) -> Result<T, Fail> {
    let cannot = |e: std::io::Error| Fail::missing(format!("the cases cannot be played: {e}"));
    let scratch = Scratch::new("test").map_err(cannot)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().map_err(cannot)?;
    let specs = crate::daemon::specs();
    let (scratch_dir, handle) = (scratch.path().to_owned(), runtime.handle().clone());
    Ok(play(&Bench { specs, rules: Arc::new(rules), vars, scratch: scratch_dir, runtime: handle }))
}

fn suites(args: &Args, playbooks: &[Arc<Playbook>], known: &Known<'_>, mistakes: &mut Vec<Mistake>) -> Vec<Suite> {
    let (mut seen, mut suites) = (Vec::new(), Vec::new());
    for path in &args.paths {
        let found = trial::files(path).map_err(|mistake| mistakes.push(*mistake)).unwrap_or_default();
        for file in found {
            let same = file.canonicalize().unwrap_or_else(|_| file.clone());
            if seen.contains(&same) {
                continue;
            }
            seen.push(same);
            match trial::text(&file) {
                Err(mistake) => mistakes.push(*mistake),
                Ok(text) => {
                    let (suite, found) = trial::read(&file, &text, playbooks, known);
                    mistakes.extend(found);
                    suites.extend(suite);
                }
            }
        }
    }
    suites
}

/// The playbooks whose coverage is asked for: of a test file its own, else all that stand there.
fn wanted(args: &Args, playbooks: &[Arc<Playbook>], suites: &[Suite]) -> Vec<Reached> {
    let only_files = args.paths.iter().all(|path| trial::is_test(path));
    let is_tested = |playbook: &Playbook| suites.iter().any(|suite| suite.playbook.name == playbook.name);
    let wanted = playbooks.iter().filter(|playbook| !only_files || is_tested(playbook));
    wanted.map(|playbook| (Arc::clone(playbook), Coverage::of(playbook))).collect()
}

fn play(suite: &Suite, bench: &Bench, reached: &mut [Reached]) -> Told {
    let mut own = Coverage::of(&suite.playbook);
    let coverage = reached.iter_mut().find(|(playbook, _)| playbook.name == suite.playbook.name);
    let coverage = coverage.map_or(&mut own, |(_, coverage)| coverage);
    let one = |case: &trial::Case| (case.name.clone(), case.line.0, trial::play(suite, case, bench, coverage).misses);
    let cases = suite.cases.iter().map(one).collect();
    Told { file: suite.file.clone(), playbook: Arc::clone(&suite.playbook), cases }
}

fn tree(told: &Told, term: &Term) {
    term.line(format!(
        "{}  {}",
        term.ink(Ink::Name, told.playbook.name.as_str()),
        escape(&told.file.display().to_string())
    ));
    for (name, _, misses) in &told.cases {
        let mark = if misses.is_empty() { term.ink(Ink::Good, "ok    ") } else { term.ink(Ink::Bad, "failed") };
        term.line(format!("  {mark}  {}", escape(name)));
        for miss in misses {
            term.line(format!("          {}", escape(&miss.place)));
            term.line(format!("            expected {}", escape(&miss.expected)));
            term.line(format!("            found    {}", escape(&miss.found)));
        }
    }
}

fn covered((playbook, coverage): &Reached, term: &Term) {
    let missed: Vec<&str> = coverage.missed_steps().collect();
    let name = term.ink(Ink::Name, playbook.name.as_str());
    let reached = coverage.steps() - missed.len();
    term.line(format!("{name}  {reached} of {} steps reached", coverage.steps()));
    for step in missed {
        term.line(format!("  {}  {}", term.ink(Ink::Bad, "not reached"), escape(step)));
    }
    for branch in coverage.branches().iter().filter(|branch| !branch.is_reached) {
        let line = format!("{}: {}", escape(&branch.step), branch.way);
        term.line(format!("  {}  {line}", term.ink(Ink::Warn, "no case goes there")));
    }
}

fn document(ok: bool, told: &[Told], reached: Option<&Vec<Reached>>, mistakes: &[Mistake]) -> Value {
    let miss = |miss: &Miss| json!({ "place": miss.place, "expected": miss.expected, "found": miss.found });
    let cases = told.iter().flat_map(|one| {
        one.cases.iter().map(move |(name, line, misses)| {
            json!({
                "id": format!("{}:{line}", one.file.display()), "file": one.file.display().to_string(), "line": line,
                "playbook": one.playbook.name, "case": name, "ok": misses.is_empty(),
                "misses": misses.iter().map(miss).collect::<Vec<_>>(),
            })
        })
    });
    let coverage = reached.map(|all| {
        all.iter()
            .map(|(playbook, coverage)| {
                let branches = coverage.branches().iter().filter(|branch| !branch.is_reached);
                json!({
                    "id": playbook.name, "steps": coverage.steps(),
                    "steps_not_reached": coverage.missed_steps().collect::<Vec<_>>(),
                    "branches_not_reached": branches.map(|b| json!({ "step": b.step, "way": b.way })).collect::<Vec<_>>(),
                })
            })
            .collect::<Vec<_>>()
    });
    json!({
        "ok": ok, "cases": cases.collect::<Vec<_>>(), "coverage": coverage, "mistakes": mistakes::as_json(mistakes),
    })
}

//! `quell rules check PATH...`: what is loaded, what each rule needs, what can never fire here, and every mistake.

use super::mistakes::{self, Tally};
use super::place::must_exist;
use super::table::{Table, cell};
use super::term::Ink;
use super::{Exit, Fail, Term};
use quell_engine::detect::{RuleReport, RuleSource, Rules};
use quell_model::{Mistake, MistakeLevel, Name};
use serde_json::{Value, json};
use std::path::PathBuf;

/// See [`run`].
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  quell rules check /etc/quell/rules")]
pub(crate) struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// Check rules: counts, what each needs, what can never fire here, and every mistake
    #[command(
        after_help = "Example:\n  quell rules check rules/ --exceptions exceptions/\n\nEnds with 1 only for rules that cannot be read."
    )]
    Check {
        /// Files or directories of Sigma rules
        #[arg(required = true, value_name = "PATH")]
        paths: Vec<PathBuf>,
        /// Files or directories of exceptions (Sigma filters)
        #[arg(long, value_name = "PATH")]
        exceptions: Vec<PathBuf>,
    },
}

/// Loads, and says what came of it.
pub(crate) fn run(args: &Args, term: &Term) -> Result<Exit, Fail> {
    let What::Check { paths, exceptions } = &args.what;
    must_exist(paths.iter().chain(exceptions))?;
    let (_, report) = Rules::load(&sources(paths), &sources(exceptions));
    let mut found = report.skipped.clone();
    found.extend(report.expired(jiff::Timestamp::now()));
    if term.is_json() {
        term.document(&document(&report, &found));
    } else {
        mistakes::draw(term, &found);
        print(&report, term);
    }
    term.note(format!("{} in {} files", Tally::of(&found), report.files));
    Ok(if report.has_errors() { Exit::NotRight } else { Exit::Right })
}

/// Paths as the loader takes them; a file is a directory of one.
pub(super) fn sources(paths: &[PathBuf]) -> Vec<RuleSource> {
    paths.iter().cloned().map(RuleSource::Dir).collect()
}

fn document(report: &RuleReport, found: &[Mistake]) -> Value {
    let never: Vec<Value> =
        report.never_fires().map(|(rule, why)| json!({ "id": rule.id, "file": rule.file, "why": why })).collect();
    json!({
        "ok": !report.has_errors(), "files": report.files, "loaded": report.rules.len(), "rules": report.rules,
        "by_status": report.by_status, "by_level": report.by_level, "by_logsource": report.by_logsource,
        "exceptions": report.exceptions, "never_fire": never, "mistakes": mistakes::as_json(found),
        "passed_over": mistakes::as_json(&report.passed_over),
    })
}

fn print(report: &RuleReport, term: &Term) {
    let refused = report.skipped.iter().filter(|m| m.level == MistakeLevel::Error).count();
    let refused_ink = if refused > 0 { Ink::Bad } else { Ink::Dim };
    term.line(format!(
        "{} rules loaded, {}, {} exceptions",
        term.ink(Ink::Bold, &report.rules.len().to_string()),
        term.ink(refused_ink, &format!("{refused} refused")),
        report.exceptions.len(),
    ));
    let counts = |name: &str, list: &mut dyn Iterator<Item = (&str, usize)>| {
        let parts: Vec<String> = list.map(|(what, n)| format!("{n} {what}")).collect();
        if !parts.is_empty() {
            term.line(format!(
                "  {}  {}",
                term.ink(Ink::Dim, &format!("{name:<7}")),
                term.ink(Ink::Plain, &parts.join(", "))
            ));
        }
    };
    counts("status", &mut report.by_status.iter().map(|(k, n)| (*k, *n)));
    counts("level", &mut report.by_level.iter().map(|(k, n)| (*k, *n)));
    term.line("");
    let mut table = Table::new(&["rules", "logsource", "fields that they look at"]);
    for (logsource, count) in &report.by_logsource {
        let mut fields: Vec<&str> = report
            .rules
            .iter()
            .filter(|rule| rule.logsource == *logsource)
            .flat_map(|rule| rule.fields.iter().map(String::as_str))
            .collect();
        fields.sort_unstable();
        fields.dedup();
        table.row([cell(count.to_string()), (Ink::Name, logsource.clone()), cell(fields.join(", "))]);
    }
    table.print(term, "no rule was found");
    let mut never = Table::new(&["can never fire here", "why"]);
    for (rule, why) in report.never_fires() {
        never.row([(Ink::Warn, rule.id.to_string()), cell(why)]);
    }
    if report.never_fires().next().is_some() {
        term.line("");
        never.print(term, "");
    }
    let mut exceptions = Table::new(&["exception", "to", "owner", "holds until", "why"]);
    for one in &report.exceptions {
        let rules: Vec<&str> = one.rules.iter().map(Name::as_str).collect();
        exceptions.row([
            (Ink::Name, one.name.to_string()),
            cell(if rules.is_empty() { "no rule that is loaded".to_owned() } else { rules.join(", ") }),
            cell(one.owner.as_str()),
            cell(super::show::moment(one.expires)),
            cell(one.reason.as_str()),
        ]);
    }
    if !report.exceptions.is_empty() {
        term.line("");
        exceptions.print(term, "");
    }
    for passed in &report.passed_over {
        term.note(format!(
            "passed over: {}: {}",
            super::escape::escape(&passed.place()),
            super::escape::escape(&passed.what)
        ));
    }
}

//! `quell incident false-positive ID`: one command for what was no attack.
//!
//! ```text
//! --out FILE made ─▶ asked ─▶ the taking back of each run waited for ─▶ the exception printed, or written to FILE
//! ```
//!
//! Owns the waiting and the file. Keeps true: no file is overwritten, none is left that holds nothing, and it says that all is taken back
//! only once every run says so.

use super::client::{Client, segment};
use super::escape::escape;
use super::follow::Following;
use super::{Exit, Fail, Term};
use crate::api::FalsePositiveResolved;
use quell_engine::report::RunView;
use quell_model::record::RunState;
use quell_model::{Json, RunId};
use serde_json::json;
use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Whoever takes back tries five times, and says what is stuck well within this.
const PATIENCE: Duration = Duration::from_secs(180);

/// See the module.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The incident's id, as in `quell incident list`
    id: String,
    /// Why it was no attack: it stands in the incident and in the exception
    #[arg(long, value_name = "TEXT")]
    reason: String,
    /// How long the exception is to hold, from 1d to 366d
    #[arg(long, value_name = "D", default_value = "90d")]
    expires: String,
    /// Write the exception to this new file instead of printing it
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

/// Says it, and waits for what is taken back.
pub(super) fn run(client: &Client, args: &Args, term: &Term) -> Result<Exit, Fail> {
    let mut file = args.out.as_deref().map(NewFile::make).transpose()?;
    let path = format!("/incidents/{}", segment(&args.id));
    let following = Following::begin(client, &format!("incident={}", segment(&args.id)))?;
    let body = json!({ "reason": args.reason, "expires": args.expires });
    let answer: FalsePositiveResolved = client.post(&format!("{path}/false-positive"), &body)?;
    if let (Some(file), Some(exception)) = (&mut file, &answer.exception) {
        file.write(&exception.text)?;
    }
    let mut ends = Vec::new();
    let waited = following.until(PATIENCE, || {
        ends = answer.runs.iter().map(|run| end_of(client, &run.id)).collect::<Result<_, _>>()?;
        Ok(ends.iter().all(End::is_over))
    });
    if term.is_json() {
        term.document(&json!({
            "id": answer.id, "runs": ends.iter().map(End::json).collect::<Vec<_>>(), "exception": answer.exception,
            "left_out": answer.left_out, "file": args.out.as_ref().filter(|_| answer.exception.is_some()),
        }));
    } else {
        tell(&answer, &ends, args.out.as_deref(), term);
    }
    for one in &answer.left_out {
        term.warn(&format!("no exception is drafted to the rule `{}`: {}", one.rule, one.why));
    }
    // It is resolved; what comes now is how far the rest went.
    waited?;
    let stands: Vec<String> = ends.iter().filter_map(End::stands).collect();
    if !stands.is_empty() {
        let hint = format!("`quell incident show {}` says how it ends", args.id);
        return Err(Fail::not_right(format!("not all is taken back: {}", stands.join("; "))).hint(hint));
    }
    if answer.exception.is_none() {
        let hint = "it can be written by hand: docs/how-to/handle-a-false-positive.md";
        return Err(Fail::not_right("no exception could be drafted").hint(hint));
    }
    Ok(Exit::Right)
}

/// Prints what was drafted, again.
pub(super) fn show(client: &Client, id: &str, term: &Term) -> Result<(), Fail> {
    let path = format!("/incidents/{}/exception", segment(id));
    if term.is_json() {
        term.document(&client.get::<Json>(&path)?);
    } else {
        let exception: quell_engine::report::ExceptionView = client.get(&path)?;
        print(&exception.text, term);
    }
    Ok(())
}

fn tell(answer: &FalsePositiveResolved, ends: &[End], out: Option<&Path>, term: &Term) {
    let done = ends.iter().filter(|end| end.stands().is_none()).count();
    let what = match ends.len() {
        0 => "nothing that its runs did stands and can be taken back".to_owned(),
        all => format!("{done} of {all} runs are taken back"),
    };
    let said = format!("{}: resolved as a false positive; {what}", escape(answer.id.as_str()));
    match (&answer.exception, out) {
        (Some(_), Some(out)) => {
            term.line(format!("{said}; the exception is in {}", escape(&out.display().to_string())))
        }
        (Some(exception), None) => {
            term.note(said);
            print(&exception.text, term);
        }
        (None, _) => term.line(said),
    }
}

/// The text has nothing in it that a terminal would obey, or it is written out here.
fn print(text: &str, term: &Term) {
    text.lines().for_each(|line| term.whole(escape(line)));
}

/// How the taking back of a run went.
struct End {
    id: RunId,
    state: RunState,
    summary: String,
}

fn end_of(client: &Client, id: &RunId) -> Result<End, Fail> {
    let run: RunView = client.get(&format!("/runs/{}", segment(id.as_str())))?;
    Ok(End { id: run.id, state: run.state, summary: run.summary })
}

impl End {
    fn is_over(&self) -> bool {
        self.state.is_over()
    }

    /// What is not taken back, if so.
    fn stands(&self) -> Option<String> {
        let why = match self.state {
            RunState::Stuck => format!("is stuck: {}", self.summary),
            state if !state.is_over() => format!("is {} still", state.as_str()),
            _ => return None,
        };
        Some(format!("run {} {why}", self.id))
    }

    fn json(&self) -> Json {
        json!({ "id": self.id, "state": self.state, "summary": self.summary })
    }
}

/// A file that was not there before, and is not there afterwards unless it was written.
struct NewFile {
    path: PathBuf,
    file: File,
    is_written: bool,
}

impl NewFile {
    fn make(path: &Path) -> Result<Self, Fail> {
        let file = File::options().write(true).create_new(true).open(path).map_err(|error| {
            let fail = Fail::usage(format!("`{}` cannot be made: {error}", path.display()));
            fail.hint("--out names a file that is not there yet; nothing was done")
        })?;
        Ok(Self { path: path.to_owned(), file, is_written: false })
    }

    fn write(&mut self, text: &str) -> Result<(), Fail> {
        self.file.write_all(text.as_bytes()).and_then(|()| self.file.sync_all()).map_err(|error| {
            let fail =
                Fail::not_right(format!("it is resolved, but `{}` cannot be written: {error}", self.path.display()));
            fail.hint("`quell incident show ID --exception` prints the exception")
        })?;
        self.is_written = true;
        Ok(())
    }
}

impl Drop for NewFile {
    fn drop(&mut self) {
        if !self.is_written {
            // It was made a moment ago, and holds nothing that anybody needs.
            drop(fs::remove_file(&self.path));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_never_overwritten_and_one_that_was_not_written_is_not_left() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("exception.yml");
        drop(NewFile::make(&path).unwrap());
        assert!(!path.exists());
        let mut file = NewFile::make(&path).unwrap();
        file.write("title: x\n").unwrap();
        drop(file);
        let fail = NewFile::make(&path).err().unwrap();
        assert_eq!((fail.exit, fs::read_to_string(&path).unwrap().as_str()), (Exit::Usage, "title: x\n"));
    }
}

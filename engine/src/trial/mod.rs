//! Tests of playbooks: `*.test.yaml` beside a playbook, played by the engine itself in a world of answers.
//!
//! ```text
//! file ──read──▶ cases ──stage──▶ Core, journal, simulated clock, played world ──records──▶ judge, coverage
//! ```
//!
//! Owns the format of test files, the played world and what is made of a run's records. **Invariants:** trigger, guard,
//! machine and journal are those of the daemon; nothing of this host is touched but a directory of its own; the same
//! file gives the same answer.

mod answers;
#[cfg(test)]
mod bait;
mod case;
mod coverage;
mod hidden;
mod judge;
mod mocks;
mod names;
#[cfg(test)]
mod plain;
mod read;
mod secrets;
mod stage;
mod start;
mod story;
mod world;
mod written;

pub use case::{Case, Suite};
pub use coverage::{Branch, Coverage};
pub use judge::Miss;
#[cfg(test)]
pub(crate) use plain::{Plain, Said};
pub use read::read;
pub use stage::{Bench, Played, play};
pub use written::written;

use crate::load::files;
use quell_model::Mistake;
use std::path::{Path, PathBuf};

/// Whether a file is a test by its name.
#[must_use]
pub fn is_test(path: &Path) -> bool {
    files::is_test(path)
}

/// The test files of a path: itself, those below a folder, or those beside a playbook.
///
/// # Errors
/// A folder that cannot be read.
pub fn files(path: &Path) -> Result<Vec<PathBuf>, Box<Mistake>> {
    if is_test(path) {
        return Ok(vec![path.to_owned()]);
    }
    if path.is_dir() {
        return files::tests_below(path);
    }
    let beside = ["yaml", "yml"].map(|end| path.with_extension(format!("test.{end}")));
    Ok(beside.into_iter().filter(|file| file.is_file()).collect())
}

/// The text of a test file.
///
/// # Errors
/// It cannot be read, or is no text.
pub fn text(path: &Path) -> Result<String, Box<Mistake>> {
    files::read(path)
}

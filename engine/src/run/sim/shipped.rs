//! The playbooks that ship, as their files have them, and what their own test files say begins them and is answered.
//!
//! Owns the walk through playbooks/. Keeps true: none is left out; one that cannot be read, or that has no test file, fails.

use super::{make, world};
use crate::load::{self, Known};
use crate::trial::{self, Plain};
use quell_model::RuleRef;
use quell_model::people::People;
use quell_model::playbook::Playbook;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

/// One of them.
pub(super) struct Shipped {
    pub(super) playbook: Arc<Playbook>,
    /// Who is who in its cases.
    pub(super) people: Arc<People>,
    pub(super) cases: Vec<Plain>,
}

/// All of them, by their folders.
pub(super) fn all() -> &'static [Shipped] {
    static ALL: OnceLock<Vec<Shipped>> = OnceLock::new();
    ALL.get_or_init(|| {
        let mut folders: Vec<PathBuf> = inside(&root());
        folders.sort();
        let of = |folder: &PathBuf| ["playbook.yaml", "playbook.rhai"].map(|name| folder.join(name));
        folders.iter().flat_map(of).filter(|file| file.is_file()).map(|file| read(&file)).collect()
    })
}

/// The playbooks alone.
pub(super) fn playbooks() -> Vec<Arc<Playbook>> {
    all().iter().map(|one| Arc::clone(&one.playbook)).collect()
}

/// What a playbook's own test file has happen; of one that does not ship, nothing.
pub(super) fn cases(playbook: &Playbook) -> &'static [Plain] {
    all().iter().find(|one| one.playbook.hash == playbook.hash).map_or(&[], |one| &one.cases)
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../playbooks")
}

fn inside(folder: &Path) -> Vec<PathBuf> {
    std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect()
}

fn text(file: &Path) -> String {
    std::fs::read_to_string(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
}

fn read(file: &Path) -> Shipped {
    let known = Known { actions: world::specs().to_vec(), ..Known::default() };
    let (playbook, mistakes) = load::playbook(file, &text(file), &known);
    let playbook = Arc::new(playbook.unwrap_or_else(|| panic!("{}: {mistakes:?}", file.display())));
    let named = playbook.on.detections.iter().flat_map(|filter| &filter.rules);
    let rules: Vec<RuleRef> = named.map(|name| make::rule(name.as_str())).collect();
    let known = Known { rules: Some(&rules), ..known };
    let tests = file.with_extension("test.yaml");
    let (suite, mistakes) = trial::read(&tests, &text(&tests), std::slice::from_ref(&playbook), &known);
    let suite = suite.unwrap_or_else(|| panic!("{}: {mistakes:?}", tests.display()));
    Shipped { people: Arc::clone(&suite.people), cases: suite.plain(), playbook }
}

/// Whatever says of itself that it is a playbook, wherever it lies below.
fn said_to_be(folder: &Path) -> Vec<PathBuf> {
    let begins =
        |file: &Path| text(file).lines().any(|line| line.starts_with("playbook:") || line.starts_with("playbook("));
    let of = |path: PathBuf| match path.extension().and_then(|end| end.to_str()) {
        _ if path.is_dir() => said_to_be(&path),
        Some("yaml" | "yml" | "rhai") if !trial::is_test(&path) && begins(&path) => vec![path],
        _ => Vec::new(),
    };
    inside(folder).into_iter().flat_map(of).collect()
}

#[test]
fn as_many_playbooks_are_simulated_as_ship() {
    let mut ship = said_to_be(&root());
    ship.sort();
    let simulated: Vec<PathBuf> = playbooks().iter().map(|playbook| playbook.file.clone()).collect();
    assert_eq!(simulated, ship);
    for one in all() {
        assert!(!one.cases.is_empty(), "no case of {} starts a run", one.playbook.name);
    }
}

//! Playbooks that somebody asks for by file, folder or name, with all that they are held against: what `quell up` by the
//! configuration around them would know. One way of gathering it, for whoever checks, tests or rehearses.
//!
//! ```text
//! --config, else the nearest quell.yaml above ─┬─▶ vars, roles, people, channels, hosts, guard
//!                                             ├─▶ rules, with those beside the playbooks
//! files, folders, names ──────────────────────┴─▶ playbooks, and the others that their steps may start
//! ```
//!
//! Keeps true: what could not be held against anything is told, and never passed over in silence.

use super::files::{self, Given};
use quell_engine::detect::{RuleSource, Rules};
use quell_engine::escalation::Escalation;
use quell_engine::escalation::channels::Channels;
use quell_engine::load::{self, Config, Known, PlaybookSource, Roles};
use quell_engine::run::Definitions;
use quell_engine::trial;
use quell_model::mistake::nearest;
use quell_model::playbook::{Playbook, Trigger};
use quell_model::{Mistake, MistakeLevel, People, RuleRef};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What somebody asks for.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Asked<'a> {
    /// Playbooks, their tests, or folders.
    pub(crate) paths: &'a [PathBuf],
    /// Further rules.
    pub(crate) rules: &'a [PathBuf],
    /// The configuration; none: the nearest quell.yaml above the first path, without a path the system's.
    pub(crate) config: Option<&'a Path>,
}

/// What was found.
pub(crate) struct Found {
    /// Playbooks that were asked for, without an error.
    pub(crate) playbooks: Vec<Arc<Playbook>>,
    /// Everything that is wrong with them.
    pub(crate) mistakes: Vec<Mistake>,
    /// Those that are installed, or stand beside them.
    pub(crate) others: Vec<Arc<Playbook>>,
    /// Rules that would be in force.
    pub(crate) rules: Rules,
    /// The configuration; its default where there is none, or none that can be read.
    pub(crate) config: Config,
    /// Who is who; none: nobody can say.
    pub(crate) people: Option<People>,
    /// By which ways anything is sent; none: nobody can say.
    pub(crate) channels: Option<Channels>,
}

impl Found {
    /// What these playbooks, or files beside them, are held against.
    pub(crate) fn known<'a>(&'a self, rules: &'a [RuleRef]) -> Known<'a> {
        let brings = self.rules.brings();
        let who = (self.people.as_ref(), self.channels.as_ref());
        Known { brings, ..known(&self.config, rules, who, &self.others) }
    }

    /// What an engine would work by that has this playbook: nothing but a person starts one of these.
    pub(crate) fn definitions(&self, playbook: &Playbook) -> Definitions {
        let others = self.playbooks.iter().chain(&self.others).map(|other| &**other);
        let mut all: Vec<Arc<Playbook>> = Vec::new();
        for one in std::iter::once(playbook).chain(others) {
            if all.iter().all(|other| other.name != one.name) {
                let on = Trigger { detections: None, schedule: None, ..one.on.clone() };
                all.push(Arc::new(Playbook { on, ..one.clone() }));
            }
        }
        // What the guard's own configuration lacks is for `quell config check` to say.
        let guard = files::guard(&self.config, &mut Vec::new());
        files::definitions(&self.config, all, guard, self.people.clone().unwrap_or_default())
    }
}

fn known<'a>(
    config: &'a Config,
    rules: &'a [RuleRef],
    (people, channels): (Option<&'a People>, Option<&'a Channels>),
    playbooks: &'a [Arc<Playbook>],
) -> Known<'a> {
    Known {
        actions: crate::daemon::specs(),
        rules: Some(rules),
        vars: config.file.is_some().then_some(&config.vars),
        secrets: config.file.is_some().then_some(&config.secrets),
        people,
        channels,
        hosts: config.file.is_some().then_some(&config.http),
        personal_tokens: config.has_personal_tokens(),
        roles: Some(&config.roles),
        playbooks,
        ..Known::default()
    }
}

/// Finds all of it.
pub(crate) fn gather(asked: &Asked<'_>) -> Found {
    let mut mistakes = Vec::new();
    let (config, unread) = configuration(asked, &mut mistakes);
    let who = who(&config, unread.as_deref(), &mut mistakes);
    let (people, channels) = who.map(|who| (who.people, who.channels)).unzip();
    let (rules, _) = Rules::load(&rules(&config, asked), &[]);
    let refs: Vec<RuleRef> = rules.refs().cloned().collect();
    let others = others(&config, asked.paths);
    let sources: Vec<PlaybookSource> = asked.paths.iter().map(|path| source(path)).collect();
    let known =
        Known { brings: rules.brings(), ..known(&config, &refs, (people.as_ref(), channels.as_ref()), &others) };
    let (playbooks, found) = load::playbooks(&sources, &known);
    drop(known);
    mistakes.extend(found);
    Found { playbooks, mistakes, others, rules, config, people, channels }
}

/// Of each path or name its own. A name is one of a playbook that ships or is installed; one that nothing has comes back
/// with the nearest that something has.
pub(crate) fn named(wanted: &[PathBuf], config: Option<&Path>) -> Result<Vec<Found>, (String, Option<String>)> {
    let each = wanted.iter().map(|path| {
        if path.exists() {
            return Ok(gather(&Asked { paths: std::slice::from_ref(path), rules: &[], config }));
        }
        let name = path.display().to_string();
        let mut found = gather(&Asked { config, ..Asked::default() });
        // What ships can be looked at also where a configuration leaves it out.
        let known = Known { actions: crate::daemon::specs(), ..Known::default() };
        let (shipped, _) = load::playbooks(&files::shipped_playbooks(), &known);
        let mut all = found.others.iter().chain(&shipped);
        let Some(playbook) = all.clone().find(|playbook| playbook.name.as_str() == name) else {
            let near = nearest(&name, all.by_ref().map(|playbook| playbook.name.as_str())).map(str::to_owned);
            return Err((name, near));
        };
        found.playbooks = vec![Arc::clone(playbook)];
        Ok(found)
    });
    each.collect()
}

/// The configuration, and the file of one that cannot be read.
fn configuration(asked: &Asked<'_>, mistakes: &mut Vec<Mistake>) -> (Config, Option<PathBuf>) {
    let system = Path::new(files::SYSTEM_CONFIG);
    let found = match asked.paths.first() {
        _ if asked.config.is_some() => asked.config.map(Path::to_owned),
        Some(path) => above(path),
        None => system.exists().then(|| system.to_owned()),
    };
    let Some(file) = found else { return (Config::default(), None) };
    let (config, wrong) = load::config_file(&file);
    let Some(first) = wrong.iter().find(|mistake| mistake.level == MistakeLevel::Error) else {
        return (config.unwrap_or_default(), None);
    };
    if asked.config.is_some() {
        mistakes.extend(wrong);
        return (Config::default(), Some(file));
    }
    let what = "this configuration has mistakes of its own: its `vars`, rules and playbooks are not known here";
    mistakes.push(unheld(first, &file, what));
    (Config::default(), Some(file))
}

/// What a file that has mistakes keeps from being checked.
fn unheld(first: &Mistake, file: &Path, what: &str) -> Mistake {
    let mut mistake = Mistake::warning(file, first.span, what)
        .expected(format!("a file without mistakes: `quell config check` says them, the first is: {}", first.what));
    mistake.line_text.clone_from(&first.line_text);
    mistake
}

/// Who is who, and by which ways they are told. Also beside a configuration that cannot be read, whose roles are not known then.
fn who(config: &Config, unread: Option<&Path>, mistakes: &mut Vec<Mistake>) -> Option<Escalation> {
    if let Some(file) = unread {
        let beside = file.with_file_name("escalation.yaml");
        return beside.exists().then(|| load::escalation_file(&beside, &Roles::default()).0)?;
    }
    config.file.as_ref()?;
    let (read, wrong) = files::escalation(config);
    let error = wrong.iter().find(|mistake| mistake.level == MistakeLevel::Error);
    if let Some(first) = error.filter(|_| read.is_none()) {
        let what = "this file has mistakes of its own: people and approvers are not checked here";
        mistakes.push(unheld(first, &first.file, what));
    }
    read
}

/// A file of tests stands beside its playbook.
fn source(path: &Path) -> PlaybookSource {
    if trial::is_test(path) { PlaybookSource::Beside(folder(path)) } else { files::source(path) }
}

/// The folder that a file stands in.
fn folder(file: &Path) -> PathBuf {
    let parent = file.parent().filter(|dir| !dir.as_os_str().is_empty());
    parent.map_or_else(|| PathBuf::from("."), Path::to_owned)
}

/// What the steps of wanted playbooks may start besides each other: what is installed, and what stands beside a file. Their
/// own mistakes are told where they are asked for.
fn others(config: &Config, wanted: &[PathBuf]) -> Vec<Arc<Playbook>> {
    let mut sources = files::playbook_sources(config);
    sources.extend(wanted.iter().filter(|path| path.is_file()).map(|path| PlaybookSource::Beside(folder(path))));
    load::playbooks(&sources, &Known { actions: crate::daemon::specs(), ..Known::default() }).0
}

/// Rules of the configuration, those that are named, and those that stand beside: of a folder all that are below, of a file
/// those of its folder and of `rules/` in it.
fn rules(config: &Config, asked: &Asked<'_>) -> Vec<RuleSource> {
    let mut sources = files::rule_sources(config, asked.rules);
    for path in asked.paths {
        if path.is_dir() {
            sources.push(RuleSource::Dir(path.clone()));
            continue;
        }
        let folder = folder(path);
        let is_yaml = |file: &PathBuf| file.extension().is_some_and(|end| end == "yaml" || end == "yml");
        let entries = std::fs::read_dir(&folder).into_iter().flatten().flatten().map(|entry| entry.path());
        let mut beside: Vec<PathBuf> = entries.filter(|file| is_yaml(file) && file.is_file()).collect();
        beside.sort();
        sources.extend(beside.into_iter().map(RuleSource::File));
        sources.push(RuleSource::Dir(folder.join("rules")));
    }
    sources
}

/// Who is told, as somebody asks for it.
pub(crate) struct OnCall {
    /// The escalation.yaml; none: there is none, and what holds without one was asked for.
    pub(crate) file: Option<PathBuf>,
    /// What it says; none: it has mistakes.
    pub(crate) escalation: Option<Escalation>,
    /// Everything that is wrong with it.
    pub(crate) mistakes: Vec<Mistake>,
}

/// An escalation.yaml, with the roles of the nearest quell.yaml above it; else the one that a daemon here would read.
pub(crate) fn on_call(asked: Option<&Path>) -> OnCall {
    let Some(file) = asked else {
        let (config, mut mistakes) = files::config(&Given::default());
        if mistakes.iter().any(|mistake| mistake.level == MistakeLevel::Error) {
            return OnCall { file: None, escalation: None, mistakes };
        }
        // What else is wrong with it is `quell config check`'s to say.
        mistakes.clear();
        let (escalation, found) = files::escalation(&config);
        mistakes.extend(found);
        return OnCall { file: config.escalation_file().filter(|file| file.exists()), escalation, mistakes };
    };
    let mut mistakes = Vec::new();
    let roles = above(file).map_or_else(Roles::default, |config| match load::config_file(&config) {
        (Some(config), _) => config.roles,
        (None, wrong) => {
            let first = wrong.iter().find(|mistake| mistake.level == MistakeLevel::Error);
            let what = "this configuration has mistakes of its own: its roles are not known here";
            mistakes.extend(first.map(|first| unheld(first, &config, what)));
            Roles::default()
        }
    });
    let (escalation, found) = load::escalation_file(file, &roles);
    mistakes.extend(found);
    OnCall { file: Some(file.to_owned()), escalation, mistakes }
}

/// The nearest quell.yaml above a path.
fn above(path: &Path) -> Option<PathBuf> {
    let path = path.canonicalize().ok()?;
    path.ancestors().map(|dir| dir.join("quell.yaml")).find(|file| file.is_file())
}

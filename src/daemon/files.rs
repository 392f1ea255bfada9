//! What people wrote, read whole: configuration, people, rules, playbooks, and the guard that they make.
//!
//! Asks the engine's `load` and `detect` for everything; owns which files are asked for, and the resolving of names to
//! inodes and user ids. Invariant: what is loaded has no error left, or says so.

use super::post::Outside;
use quell_actions::notify::mark::MarkKey;
use quell_actions::send::ways::InForce;
use quell_actions::{HostWorld, protect};
use quell_engine::detect::{RuleReport, RuleSource, Rules};
use quell_engine::escalation::Escalation;
use quell_engine::load::{self, Config, Known, PlaybookSource};
use quell_engine::run::pages::Post;
use quell_engine::run::{Apart, Definitions, IncidentRules};
use quell_model::guard::{Guard, Protect};
use quell_model::playbook::Playbook;
use quell_model::{Mistake, MistakeLevel, Mode, People, RuleRef, Span};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The configuration that is read when nobody names one.
pub(crate) const SYSTEM_CONFIG: &str = "/etc/quell/quell.yaml";

/// What the command line says of files.
#[derive(Clone, Debug, Default)]
pub(crate) struct Given {
    /// `--config`.
    pub(crate) config: Option<PathBuf>,
    /// `--mode`.
    pub(crate) mode: Option<Mode>,
}

/// All of it.
pub(crate) struct Loaded {
    /// The configuration; its default where it has mistakes.
    pub(crate) config: Config,
    /// Rules in force.
    pub(crate) rules: Arc<Rules>,
    /// How many rules could not be used.
    pub(crate) rules_skipped: usize,
    /// Playbooks, guard, modes, people.
    pub(crate) definitions: Definitions,
    /// Who is told, when and by which way; what holds without a file where it has mistakes.
    pub(crate) escalation: Escalation,
    /// Every mistake of every file.
    pub(crate) mistakes: Vec<Mistake>,
    /// Files whose reads are events.
    pub(crate) watch: Vec<String>,
    /// Files and folders that a change of matters.
    pub(crate) files: Vec<PathBuf>,
}

impl Loaded {
    /// What keeps it from being put in force.
    pub(crate) fn errors(&self) -> impl Iterator<Item = &Mistake> {
        self.mistakes.iter().filter(|mistake| mistake.level == MistakeLevel::Error)
    }

    /// What an engine is to work by that tells people, with the channels made ready; and the same ways for what its playbooks send.
    pub(crate) fn in_force(&self, marks: &MarkKey) -> (Definitions, Arc<InForce>) {
        let outside = Outside { marks: marks.clone(), public_url: self.config.public_url.clone() };
        let (post, ways) = super::post::made(&self.escalation, &self.config.http, &outside);
        let escalation = Some(Arc::new(self.escalation.clone()));
        (Definitions { escalation, post, ..self.definitions.clone() }, ways)
    }

    /// Whether anything does.
    pub(crate) fn has_errors(&self) -> bool {
        self.errors().next().is_some()
    }
}

/// The configuration that holds, and its mistakes.
pub(crate) fn config(given: &Given) -> (Config, Vec<Mistake>) {
    let system = Path::new(SYSTEM_CONFIG);
    let file = given.config.as_deref().or_else(|| system.exists().then_some(system));
    let (read, mistakes) = match file {
        Some(file) => load::config_file(file),
        None => (Some(Config::default()), Vec::new()),
    };
    let mut config = read.unwrap_or_default();
    if let Some(mode) = given.mode {
        config.set_mode(mode, "--mode");
    }
    (config, mistakes)
}

/// Reads everything.
pub(crate) fn load(given: &Given) -> Loaded {
    let (config, mut mistakes) = config(given);
    let error = mistakes.iter().find(|mistake| mistake.level == MistakeLevel::Error).map(|error| error.file.clone());
    mistakes.extend(error.map(|file| {
        let what = "while it has mistakes, what it names is not looked at: rules, playbooks, people";
        Mistake { level: MistakeLevel::Note, ..Mistake::warning(&file, Span::default(), what) }
    }));
    load_config(config, mistakes)
}

/// Reads everything, for an engine that may act: where nothing of its host would be protected it only observes, whatever is written.
pub(crate) fn load_to_act(given: &Given) -> Loaded {
    let mut loaded = load(given);
    if let Some(why) = unprotected() {
        only_observes(&mut loaded.definitions, &why);
    }
    loaded
}

/// It still sees and tells; what it would kill might be the runtime of the whole node.
fn only_observes(definitions: &mut Definitions, why: &str) {
    if definitions.ceiling > Mode::Observe {
        definitions.ceiling_because = format!("it would be {}, but {why}", definitions.ceiling);
        definitions.ceiling = Mode::Observe;
    }
}

/// Why nothing of this host's executables is protected, if this is a pod that does not see them.
pub(crate) fn unprotected() -> Option<String> {
    no_host(super::own_pod::own_pod().is_some(), &protect::host_root())
}

fn no_host(in_a_pod: bool, root: &Path) -> Option<String> {
    let why = "this pod does not see its host's files: neither its runtimes nor its kubelet would be protected \
               (`hostPID: true` and CAP_SYS_PTRACE let it look)";
    (in_a_pod && root == Path::new("/")).then(|| why.to_owned())
}

/// Reads everything that a configuration names.
pub(crate) fn load_config(config: Config, mut mistakes: Vec<Mistake>) -> Loaded {
    let (rules, report) = Rules::load(&rule_sources(&config, &[]), &paths(&config.rules.exceptions));
    mistakes.extend(untrusted(&config, &report));
    mistakes.extend(report.expired(jiff::Timestamp::now()));
    let rules_skipped = report.errors().count();
    mistakes.extend(report.skipped);
    let refs: Vec<RuleRef> = rules.refs().cloned().collect();
    let (escalation, found) = escalation(&config);
    mistakes.extend(found);
    let people = escalation.as_ref().map(|read| &read.people);
    mistakes.extend(people.iter().flat_map(|people| config.check_people(people)));
    let webhooks = config.sources.webhooks.iter().filter_map(|webhook| webhook.tls.as_ref());
    let listens = config.listen.iter().filter_map(|listen| listen.tls.as_ref()).chain(webhooks);
    mistakes.extend(listens.filter_map(crate::api::listen_mistakes));
    let no_cluster = super::Kube::of(&config).told().err();
    let known = Known {
        actions: crate::daemon::specs(),
        rules: Some(&refs),
        brings: rules.brings(),
        vars: Some(&config.vars),
        secrets: Some(&config.secrets),
        people,
        channels: escalation.as_ref().map(|read| &read.channels),
        hosts: Some(&config.http),
        no_cluster: no_cluster.as_deref(),
        personal_tokens: config.has_personal_tokens(),
        roles: Some(&config.roles),
        ..Known::default()
    };
    let (playbooks, found) = load::playbooks(&playbook_sources(&config), &known);
    // What ships is nobody's here to mend: that it asks people who are not named yet is said where it is asked for.
    mistakes
        .extend(found.into_iter().filter(|one| one.level == MistakeLevel::Error || !one.file.starts_with("shipped")));
    mistakes.extend(config.check_names(&playbooks, &known.actions));
    mistakes.extend(config.check_secrets());
    mistakes.extend(unread(&config));
    mistakes.extend(config.sources.files.iter().filter_map(|source| followed(&source.path)));
    let guard = guard(&config, &mut mistakes);
    let who = config.escalation_file();
    let named = config.file.iter().chain(&who);
    let files = named.chain(&config.playbooks.dirs).chain(&config.rules.dirs).chain(&config.rules.exceptions);
    let files = files.cloned().collect();
    let escalation = escalation.unwrap_or_default();
    Loaded {
        rules: Arc::new(rules),
        rules_skipped,
        definitions: definitions(&config, playbooks, guard, escalation.people.clone()),
        escalation,
        watch: quell_playbooks::watched().iter().map(|&path| path.to_owned()).collect(),
        files,
        config,
        mistakes,
    }
}

/// Who is who, and who is told: nobody and the terminal where no file says so, none where what it says has mistakes.
pub(super) fn escalation(config: &Config) -> (Option<Escalation>, Vec<Mistake>) {
    match config.escalation_file() {
        Some(file) if config.escalation.is_some() || is_something(&file) => load::escalation_file(&file, &config.roles),
        _ => (Some(Escalation::default()), Vec::new()),
    }
}

/// A link that leads nowhere, and what cannot be looked at, are not nothing.
fn is_something(file: &Path) -> bool {
    std::fs::symlink_metadata(file).map_or_else(|error| error.kind() != std::io::ErrorKind::NotFound, |_| true)
}

/// Without people all is open to whoever may use the socket. That is what a fresh installation does; what a running one comes to
/// when the file that named them was moved, emptied or left out is a mistake.
pub(crate) fn nobody_left(before: &People, loaded: &Loaded) -> Option<Mistake> {
    let is_gone = !before.is_empty() && loaded.definitions.people.is_empty() && !loaded.has_errors();
    let file = loaded.config.escalation_file().unwrap_or_else(|| SYSTEM_CONFIG.into());
    let what = "nobody is named any more, and without people all is open to whoever may use the socket";
    let expected = "the people as they were, or others; a restart begins without any";
    is_gone.then(|| Mistake::error(&file, Span::default(), what).expected(expected))
}

/// Rules and exceptions that others than root, or the one who runs quell, could change: who writes a rule decides what is
/// killed, who writes an exception what is not. Playbooks are refused where they are read.
fn untrusted(config: &Config, report: &RuleReport) -> Vec<Mistake> {
    let named: Vec<&PathBuf> =
        config.rules.dirs.iter().chain(&config.rules.exceptions).chain(&config.playbooks.dirs).collect();
    let rules = report.rules.iter().map(|rule| rule.file.clone());
    let exceptions = report.exceptions.iter().map(|exception| exception.file.clone());
    // What ships in the binary lies below none of these.
    let files = rules.chain(exceptions).filter(|file: &PathBuf| named.iter().any(|dir| file.starts_with(dir)));
    let mut all: Vec<PathBuf> =
        named.iter().filter(|path| path.exists()).map(|&path| path.clone()).chain(files).collect();
    all.sort();
    all.dedup();
    all.iter().filter_map(|path| load::trusted(path).err().map(|mistake| *mistake)).collect()
}

/// What is there and can never be followed. What is not there yet may come.
fn followed(path: &Path) -> Option<Mistake> {
    let kind = std::fs::metadata(path).ok()?.file_type();
    let what = "it is no file and no folder: it cannot be followed";
    (!kind.is_file() && !kind.is_dir()).then(|| Mistake::error(path, Span::default(), what))
}

/// A kubeconfig that cannot be read now: what acts in the cluster would fail.
fn unread(config: &Config) -> Option<Mistake> {
    let file = config.kubernetes.kubeconfig.as_ref().filter(|_| config.kubernetes.enabled)?;
    let error = std::fs::File::open(file).err()?;
    let what = format!("the kubeconfig `{}` cannot be read now: {error}", file.display());
    Some(config.warning("kubernetes.kubeconfig", what))
}

/// A size that has its bounds.
fn bytes(size: u64) -> usize {
    usize::try_from(size).unwrap_or(usize::MAX)
}

/// What the engine works by.
pub(super) fn definitions(config: &Config, playbooks: Vec<Arc<Playbook>>, guard: Guard, people: People) -> Definitions {
    let because = config.show().into_iter().find(|row| row.key == "mode").map(|row| row.from).unwrap_or_default();
    Definitions {
        playbooks,
        guard,
        ceiling: config.mode,
        ceiling_because: match because.as_str() {
            "default" => "a fresh installation observes".to_owned(),
            from => format!("the mode is {} by {from}", config.mode),
        },
        modes: config.playbooks.modes.clone(),
        asks_nobody: None,
        vars: config.vars.clone(),
        secrets: config.secrets.clone(),
        apart: Apart { inline: bytes(config.journal.inline), largest: bytes(config.journal.largest) },
        incidents: IncidentRules { min_level: config.incidents.min_level, quiet: config.incidents.quiet },
        untrusted: super::sources::untrusted(&config.sources),
        people: Arc::new(people),
        // Whoever only looks tells nobody.
        escalation: None,
        post: Post::default(),
    }
}

/// What may not be touched, and how much may: files to inodes, users to ids.
pub(crate) fn guard(config: &Config, mistakes: &mut Vec<Mistake>) -> Guard {
    let named: Vec<String> = config.guard.executables.iter().map(|path| path.display().to_string()).collect();
    let mut executables = protect::resolve(protect::DEFAULTS);
    if executables.is_empty() {
        let what = "none of the executables that are protected by default is to be found on this host: none of them is protected; in a container \
                    that sees the host's processes, CAP_SYS_PTRACE is needed to look";
        mistakes.push(Mistake::warning(config.file.clone().unwrap_or_default(), Span::default(), what));
    }
    for path in &named {
        let found = protect::resolve(&[path]);
        if found.is_empty() {
            let what = format!("`guard.protect` names `{path}`, and nothing is there: it protects nothing");
            mistakes.push(Mistake::warning(config.file.clone().unwrap_or_default(), Span::default(), what));
        }
        executables.extend(found);
    }
    let passwd = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let mut uids = Vec::new();
    for user in &config.guard.users {
        match uid_of(user, &passwd) {
            Some(uid) => uids.push(uid),
            None => {
                let what = format!("`guard.protect` names the user `{user}`, whom this host does not know");
                mistakes.push(Mistake::warning(config.file.clone().unwrap_or_default(), Span::default(), what));
            }
        }
    }
    let cgroup = config.guard.only_within.as_ref().and_then(|within| within.cgroup.as_ref());
    if let Some(path) = cgroup.filter(|path| !is_a_cgroup(path)) {
        let what =
            format!("`guard.only_within` names the cgroup `{path}`, which does not exist: nothing can be touched");
        mistakes.push(config.warning("guard.only_within", what));
    }
    let own_pod = super::own_pod::own_pod();
    let mut namespaces = config.guard.namespaces.clone();
    namespaces.extend(own_pod.as_ref().map(|own| own.namespace.clone()).filter(|own| !namespaces.contains(own)));
    let processes = HostWorld::live(super::node()).map(|world| protect::own_processes(&world)).unwrap_or_default();
    Guard {
        protect: Protect {
            processes,
            executables,
            units: config.guard.units.clone(),
            uids,
            namespaces,
            nodes: config.guard.nodes.clone(),
            own_pod,
        },
        limits: config.guard.limits.clone(),
        per_playbook: config.guard.per_playbook.clone(),
        min_ready: config.guard.min_ready.clone(),
        breaker: config.guard.breaker.clone(),
        only_within: config.guard.only_within.clone(),
        warm_up: config.guard.warm_up.clone(),
    }
}

/// Whether some hierarchy of this host has the cgroup now; where there is none to be seen, nobody knows.
fn is_a_cgroup(path: &str) -> bool {
    HostWorld::live(super::node()).map_or(true, |world| {
        world.cgroups.is_empty()
            || world.cgroups.iter().any(|root| root.dir.join(path.trim_start_matches('/')).is_dir())
    })
}

fn uid_of(user: &str, passwd: &str) -> Option<u32> {
    let of_name = || {
        passwd.lines().find_map(|line| {
            let mut fields = line.split(':');
            (fields.next()? == user).then(|| fields.nth(1)?.parse().ok())?
        })
    };
    user.parse().ok().or_else(of_name)
}

fn shipped_rules() -> Vec<RuleSource> {
    let text = |file: quell_playbooks::Shipped| RuleSource::Text {
        name: format!("shipped/{}", file.name),
        text: file.text.to_owned(),
    };
    quell_playbooks::rules().into_iter().map(text).collect()
}

pub(super) fn shipped_playbooks() -> Vec<PlaybookSource> {
    let text = |file: quell_playbooks::Shipped| PlaybookSource::Text {
        name: format!("shipped/{}", file.name),
        text: file.text.to_owned(),
    };
    quell_playbooks::playbooks().into_iter().map(text).collect()
}

fn paths(paths: &[PathBuf]) -> Vec<RuleSource> {
    paths.iter().cloned().map(RuleSource::Dir).collect()
}

/// Shipped ones first, so that a folder's rule replaces its namesake. A playbook's folder may hold its rules too.
pub(super) fn rule_sources(config: &Config, more: &[PathBuf]) -> Vec<RuleSource> {
    let mut sources = if config.rules.shipped { shipped_rules() } else { Vec::new() };
    sources.extend(paths(&config.rules.dirs));
    sources.extend(paths(&config.playbooks.dirs));
    sources.extend(paths(more));
    sources
}

pub(super) fn playbook_sources(config: &Config) -> Vec<PlaybookSource> {
    let mut sources = if config.playbooks.shipped { shipped_playbooks() } else { Vec::new() };
    sources.extend(config.playbooks.dirs.iter().map(|path| source(path)));
    sources
}

pub(super) fn source(path: &Path) -> PlaybookSource {
    if path.is_dir() { PlaybookSource::Dir(path.to_owned()) } else { PlaybookSource::File(path.to_owned()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pod_that_does_not_see_its_host_observes_and_says_why() {
        let (here, host) = (Path::new("/"), Path::new("/proc/1/root"));
        assert_eq!([no_host(false, here), no_host(false, host), no_host(true, host)], [None, None, None]);
        let why = no_host(true, here).unwrap();
        for (mode, expected) in [
            (Mode::Enforce, "it would be enforce, but this pod does not see"),
            (Mode::Approve, "it would be approve, but this pod does not see"),
            (Mode::Observe, "as it was"),
        ] {
            let mut definitions =
                Definitions { ceiling: mode, ceiling_because: "as it was".to_owned(), ..Definitions::default() };
            only_observes(&mut definitions, &why);
            assert_eq!(definitions.ceiling, Mode::Observe);
            assert!(definitions.ceiling_because.starts_with(expected), "{}", definitions.ceiling_because);
        }
    }
}

//! quell.yaml: what an installation may do and where its things are.
//!
//! Owns the shape and the defaults: no file at all is a working installation that observes. `read` fills it from a file,
//! `show` tells each value and where it came from. Never asks the system anything: names of users and files are resolved
//! by who uses them.

mod access;
mod kubernetes;
mod read;
mod show;
mod webhook;

pub use access::{Listen, Permission, Roles, Tls, Token};
pub use kubernetes::{Kubernetes, NAMESPACES};
#[cfg(test)]
pub(crate) use read::{ACCESS, ALLOW, KEYS, KUBERNETES, LISTEN, TOKEN, WEBHOOK};
pub use read::{config, config_file};
pub use show::Shown;
pub use webhook::WebhookSource;

use crate::adapt::Format;
use crate::load::SecretFrom;
use crate::source::Begin;
use quell_model::guard::{ALL, Breaker, EACH, Limits, MinReady, WarmUp, Within};
use quell_model::hosts::AllowedHost;
use quell_model::playbook::{Playbook, Rate};
use quell_model::{ActionSpec, Json, Level, Mistake, MistakeLevel, Mode, Name, People, Span};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// The configuration.
#[derive(Clone, PartialEq, Debug)]
pub struct Config {
    /// The file it was read from.
    pub file: Option<PathBuf>,
    /// The ceiling over everything.
    pub mode: Mode,
    /// Where the journal, the vault and the socket are.
    pub data_dir: PathBuf,
    /// What links in messages begin with; none: messages have none.
    pub public_url: Option<String>,
    /// Which playbooks are loaded.
    pub playbooks: Playbooks,
    /// Which rules are loaded.
    pub rules: Rules,
    /// The escalation.yaml that it names.
    pub escalation: Option<PathBuf>,
    /// When incidents open and end.
    pub incidents: Incidents,
    /// What stands in the journal's records.
    pub journal: Kept,
    /// How much the flight recorder keeps.
    pub recorder: Recorder,
    /// How long what is over is kept.
    pub retention: Ages,
    /// Where events come from.
    pub sources: Sources,
    /// The Kubernetes cluster that is acted in.
    pub kubernetes: Kubernetes,
    /// What may never be touched, and how much may be.
    pub guard: GuardConfig,
    /// `vars` in expressions: a map.
    pub vars: Json,
    /// Where the values of `secrets` are.
    pub secrets: BTreeMap<Name, SecretFrom>,
    /// The hosts that playbooks may ask over HTTP.
    pub http: Vec<AllowedHost>,
    /// The group that may use the socket.
    pub socket_group: String,
    /// What each role may do.
    pub roles: Roles,
    /// The API on TCP.
    pub listen: Option<Listen>,
    /// What is logged, and how.
    pub log: Log,
    /// What quell tells of itself.
    pub telemetry: Telemetry,
    /// Where values were written: `guard.breaker.images` → line; on the command line: the flag.
    origins: BTreeMap<String, Origin>,
}

/// Where a value came from, if it is no default.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Origin {
    Line(Span, Option<String>),
    Flag(&'static str),
}

/// Which playbooks are loaded.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Playbooks {
    /// Those in the binary.
    pub shipped: bool,
    /// Folders of others.
    pub dirs: Vec<PathBuf>,
    /// Modes that go before the playbooks' own.
    pub modes: BTreeMap<Name, Mode>,
}

/// Which rules are loaded.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Rules {
    /// Those in the binary.
    pub shipped: bool,
    /// Folders or files of others.
    pub dirs: Vec<PathBuf>,
    /// Folders or files of exceptions.
    pub exceptions: Vec<PathBuf>,
}

/// When incidents open and end.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Incidents {
    /// The least level that opens one without a playbook.
    pub min_level: Level,
    /// Without a detection for this long, the next opens a new one.
    pub quiet: Duration,
}

/// What of a run's values stands in the journal's records.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Kept {
    /// What has more bytes as JSON lies beside its record.
    pub inline: u64,
    /// What has more is not kept, and says so.
    pub largest: u64,
}

/// Bounds of [`Kept::inline`]: below, a reference would hardly be shorter; above, a run's records would be what they were to be
/// kept from being.
pub const INLINE: std::ops::RangeInclusive<u64> = 1 << 10..=1 << 20;
/// Bounds of [`Kept::largest`]: two of them, of a plan and of what the step gives by it, are one append (32 MiB), also where they do not
/// pack.
pub const LARGEST: std::ops::RangeInclusive<u64> = 1 << 20..=14 << 20;

/// How much the flight recorder keeps.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Recorder {
    /// At most so many bytes; the oldest go first.
    pub size: u64,
    /// Nothing that is older.
    pub age: Duration,
}

/// The least size: below it the ring would be made of crumbs.
pub const LEAST_RECORDED: u64 = 16 << 20;

/// How long what is over is kept; none: for good.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Ages {
    /// Runs and incidents, from their end.
    pub incidents: Option<Duration>,
    /// Evidence, from when it was last put in; what is not written is as long as `incidents`.
    pub evidence: Option<Duration>,
}

/// The least age: what is younger may still be talked about, and asked for again.
pub const LEAST_KEPT: Duration = Duration::from_secs(86_400);

/// Where events come from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Sources {
    /// The eBPF sensor.
    pub sensor: bool,
    /// Files and folders that are followed.
    pub files: Vec<FileSource>,
    /// Where others bring events.
    pub webhooks: Vec<WebhookSource>,
}

/// A file or folder that is followed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FileSource {
    /// How it is written; none: found out by looking.
    pub format: Option<Format>,
    /// Where it is.
    pub path: PathBuf,
    /// Whether only the system can write it. What is not trusted never acts.
    pub trusted: bool,
    /// Where it begins when it is followed for the first time.
    pub from: Begin,
}

/// What may never be touched, and how much may be.
#[derive(Clone, PartialEq, Debug)]
pub struct GuardConfig {
    /// Executables, besides the built-in ones.
    pub executables: Vec<PathBuf>,
    /// systemd units; a trailing `*` stands for anything.
    pub units: Vec<String>,
    /// Users by name or number.
    pub users: Vec<String>,
    /// Namespaces of a cluster: those built in but for what is taken out, and others; a trailing `*` stands for anything.
    pub namespaces: Vec<String>,
    /// Nodes of a cluster; a trailing `*` stands for anything.
    pub nodes: Vec<String>,
    /// So many of an action in a time; `*` for each that has no row of its own, `all` for all together.
    pub limits: Limits,
    /// The same of each playbook.
    pub per_playbook: Limits,
    /// How many replicas of an owner, and nodes of a cluster, have to stay.
    pub min_ready: MinReady,
    /// When a playbook is believed to have gone wrong.
    pub breaker: Breaker,
    /// Outside of this nothing may be touched.
    pub only_within: Option<Within>,
    /// How long a playbook asks first that is new here.
    pub warm_up: Option<WarmUp>,
}

/// What is logged, and how.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Log {
    /// How.
    pub format: LogFormat,
    /// What.
    pub level: LogLevel,
}

/// What quell tells of itself.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Telemetry {
    /// Its figures, to whoever asks the API for them.
    pub metrics: bool,
    /// Its runs as traces, to the collector at this address.
    pub otlp: Option<String>,
}

/// How the log is written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LogFormat {
    /// For people on a terminal, JSON elsewhere.
    Auto,
    /// For people.
    Text,
    /// A JSON object a line.
    Json,
}

/// What is logged.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum LogLevel {
    /// What needs a person.
    Error,
    /// What may need one.
    Warn,
    /// What happened.
    Info,
    /// Why it happened.
    Debug,
    /// Everything.
    Trace,
}

impl LogFormat {
    /// All, with their words.
    pub(crate) const WORDS: &[(&str, Self)] = &[("auto", Self::Auto), ("text", Self::Text), ("json", Self::Json)];
}

impl LogLevel {
    /// All, with their words.
    pub(crate) const WORDS: &[(&str, Self)] = &[
        ("error", Self::Error),
        ("warn", Self::Warn),
        ("info", Self::Info),
        ("debug", Self::Debug),
        ("trace", Self::Trace),
    ];

    /// The word for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        word(Self::WORDS, self)
    }
}

fn word<T: PartialEq>(words: &[(&'static str, T)], value: T) -> &'static str {
    words.iter().find(|(_, each)| *each == value).map_or("", |(word, _)| word)
}

/// What every action may do at most when nothing else is said: far above what one host's attacks need, far below what a
/// playbook gone wrong would do.
pub const LIMIT: Rate = Rate { count: 200, per: Duration::from_secs(3600) };
/// Of all actions together: a place in which several act counts once.
const LIMIT_OF_ALL: Rate = Rate { count: 500, per: Duration::from_secs(3600) };

/// The longest data directory in bytes: a socket's address has room for 107 (`sun_path` of unix(7), without its end), and
/// `/quell.sock` follows.
const LONGEST_DIR: usize = 107 - "/quell.sock".len();

/// Whether the daemon's socket can have its place in a data directory; else why not.
///
/// # Errors
/// When the path is too long for a socket's address.
pub fn socket_fits(data_dir: &Path) -> Result<(), String> {
    let long = data_dir.as_os_str().len();
    if long <= LONGEST_DIR {
        return Ok(());
    }
    Err(format!("`data_dir` has {long} bytes: a socket below it can have no more than {LONGEST_DIR} before its name"))
}

impl Default for Config {
    fn default() -> Self {
        Self {
            file: None,
            mode: Mode::Observe,
            data_dir: PathBuf::from("/var/lib/quell"),
            public_url: None,
            playbooks: Playbooks { shipped: true, dirs: Vec::new(), modes: BTreeMap::new() },
            rules: Rules { shipped: true, dirs: Vec::new(), exceptions: Vec::new() },
            escalation: None,
            incidents: Incidents { min_level: Level::High, quiet: Duration::from_secs(30 * 60) },
            journal: Kept { inline: 32 << 10, largest: 14 << 20 },
            recorder: Recorder { size: 1 << 30, age: Duration::from_secs(24 * 3600) },
            retention: Ages::default(),
            kubernetes: Kubernetes::default(),
            sources: Sources { sensor: true, files: Vec::new(), webhooks: Vec::new() },
            guard: GuardConfig {
                executables: Vec::new(),
                units: Vec::new(),
                users: Vec::new(),
                namespaces: NAMESPACES.map(str::to_owned).to_vec(),
                nodes: Vec::new(),
                limits: Limits(BTreeMap::from([(EACH.to_owned(), LIMIT), (ALL.to_owned(), LIMIT_OF_ALL)])),
                per_playbook: Limits(BTreeMap::from([(ALL.to_owned(), LIMIT)])),
                min_ready: kubernetes::min_ready(),
                breaker: Breaker::default(),
                only_within: None,
                warm_up: None,
            },
            vars: Json::Object(serde_json::Map::new()),
            secrets: BTreeMap::new(),
            http: Vec::new(),
            socket_group: "quell".to_owned(),
            roles: Roles::default(),
            listen: None,
            log: Log { format: LogFormat::Auto, level: LogLevel::Info },
            telemetry: Telemetry { metrics: true, otlp: None },
            origins: BTreeMap::new(),
        }
    }
}

impl Config {
    /// Replaces the mode, as `--mode` does.
    pub fn set_mode(&mut self, mode: Mode, flag: &'static str) {
        self.mode = mode;
        self.origins.insert("mode".to_owned(), Origin::Flag(flag));
    }

    /// Replaces the data directory, as `--data-dir` does.
    pub fn set_data_dir(&mut self, dir: PathBuf, flag: &'static str) {
        self.data_dir = dir;
        self.origins.insert("data_dir".to_owned(), Origin::Flag(flag));
    }

    /// Where the people are written: the file that it names, else the one beside it, which need not be there.
    #[must_use]
    pub fn escalation_file(&self) -> Option<PathBuf> {
        self.escalation.clone().or_else(|| self.file.as_ref().map(|file| file.with_file_name("escalation.yaml")))
    }

    /// How far a playbook may go: the stricter of the ceiling and of what holds for the playbook.
    #[must_use]
    pub fn mode_of(&self, playbook: &Playbook) -> Mode {
        let own = self.playbooks.modes.get(&playbook.name).copied().unwrap_or(playbook.mode);
        self.mode.strictest(own)
    }

    /// Whether a token speaks for a person.
    #[must_use]
    pub fn has_personal_tokens(&self) -> bool {
        self.listen.iter().flat_map(|listen| &listen.tokens).any(|token| token.person.is_some())
    }

    /// Names in it that nothing has: playbooks under `playbooks.modes`, actions under `guard.limits`.
    #[must_use]
    pub fn check_names(&self, playbooks: &[Arc<Playbook>], actions: &[&'static ActionSpec]) -> Vec<Mistake> {
        let mut found = Vec::new();
        for name in self.playbooks.modes.keys() {
            if !playbooks.iter().any(|playbook| playbook.name == *name) {
                let known = playbooks.iter().map(|playbook| playbook.name.as_str());
                let mistake =
                    self.warning(&format!("playbooks.modes.{name}"), format!("no loaded playbook is called `{name}`"));
                found.push(mistake.expected("the name of a playbook").nearest(name.as_str(), known));
            }
        }
        let rows = self.guard.limits.0.keys().map(|name| ("guard.limits", name));
        let own = self.guard.per_playbook.0.keys().map(|name| ("guard.limits.per_playbook", name));
        let known = || actions.iter().map(|spec| spec.name).chain([EACH, ALL]);
        let floors = self.guard.min_ready.rows.keys().filter(|name| *name != EACH);
        for name in floors.filter(|name| actions.iter().all(|spec| spec.name != name.as_str())) {
            let key = format!("guard.limits.min_ready.{name}");
            let mistake = self.warning(&key, format!("there is no action `{name}`"));
            let known = actions.iter().map(|spec| spec.name).chain([EACH]);
            found.push(mistake.expected("an action, or `*` for each without a row").nearest(name, known));
        }
        for (section, name) in rows.chain(own).filter(|(_, name)| known().all(|known| known != name.as_str())) {
            let mistake = self.warning(&format!("{section}.{name}"), format!("there is no action `{name}`"));
            let expected = "an action, `*` for each without a row, or `all` for all together";
            found.push(mistake.expected(expected).nearest(name, known()));
        }
        found
    }

    /// Secrets that cannot be read as things are: what needs one would fail.
    #[must_use]
    pub fn check_secrets(&self) -> Vec<Mistake> {
        let unread = self.secrets.iter().filter_map(|(name, from)| Some((name, from.read().err()?)));
        let warning = |(name, why): (&Name, String)| {
            // Without its line: what is not there may be the value itself.
            let what = format!("the secret `{name}` cannot be read now: {why}");
            Mistake { line_text: None, ..self.warning(&format!("secrets.{name}"), what) }
        };
        unread.map(warning).collect()
    }

    /// Persons that tokens speak for and that nobody is.
    #[must_use]
    pub fn check_people(&self, people: &People) -> Vec<Mistake> {
        let tokens = self.listen.iter().flat_map(|listen| &listen.tokens);
        let unknown = tokens.filter_map(|token| Some((token, token.person.as_ref()?)));
        let unknown = unknown.filter(|(_, person)| !people.people.contains_key(*person));
        let mistake = |(token, person): (&Token, &Name)| {
            let what = format!("the token `{}` speaks for `{person}`, who is nobody in escalation.yaml", token.name);
            let mut mistake = self.warning(&format!("access.listen.tokens.{}", token.name), what);
            mistake.level = MistakeLevel::Error;
            mistake.expected("one of its `people`").nearest(person.as_str(), people.people.keys().map(Name::as_str))
        };
        unknown.map(mistake).collect()
    }

    /// A warning about a key, with its place where it has one.
    #[must_use]
    pub fn warning(&self, key: &str, what: String) -> Mistake {
        let (span, line) = match self.origins.get(key) {
            Some(Origin::Line(span, line)) => (*span, line.clone()),
            _ => (Span::default(), None),
        };
        let mut mistake = Mistake::warning(self.file.clone().unwrap_or_default(), span, what);
        mistake.line_text = line;
        mistake
    }
}

#[cfg(test)]
mod tests;

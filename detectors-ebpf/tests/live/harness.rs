//! One sensor for all tests; each waits for the events that it expects, with a deadline.

use quell_detectors::{Running, Sensor, SensorConfig, SensorError, Sink};
use quell_model::{Class, Event, Field, Json, OwnedEvent};
use std::io::Write;
use std::path::Path;
use std::process::Child;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError, RwLock, RwLockReadGuard};
use std::time::{Duration, Instant};

/// A busy machine may take its time; a broken sensor will take it all.
pub(crate) const DEADLINE: Duration = Duration::from_secs(120);

/// Whether this runs in the emulated machine of [`crate::boots`], where everything takes its time many times over.
pub(crate) fn inside() -> bool {
    std::env::var_os("QUELL_INSIDE").is_some()
}

/// How long an event may take.
fn patience() -> Duration {
    if inside() { 3 * DEADLINE } else { DEADLINE }
}

/// What a sensor has told, and from where on somebody looks at it.
#[derive(Default)]
pub(crate) struct Log {
    told: Arc<Told>,
    from: usize,
}

#[derive(Default)]
struct Told {
    events: Mutex<Vec<Arc<OwnedEvent>>>,
    more: Condvar,
}

impl Told {
    fn events(&self) -> MutexGuard<'_, Vec<Arc<OwnedEvent>>> {
        self.events.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A file that floods are made of: nobody waits for its events.
pub(crate) const FLOOD: &str = "/flood";

/// Keeps what this process and its descendants did.
pub(crate) struct Keep {
    pub(crate) log: Arc<Log>,
    /// Asks for what rules ask for: it makes the sensor look for relays.
    pub(crate) ask: bool,
}

impl Sink for Keep {
    fn event(&mut self, event: &dyn Event) {
        if !is_ours(event) {
            return;
        }
        if matches!(event.own("file.path"), Some(Field::Str(path)) if path.ends_with(FLOOD)) {
            return;
        }
        match event.head().class {
            Class::ProcessCreation if self.ask => drop(event.sigma("process.stdio.relayed")),
            Class::NetworkConnection if self.ask => drop(event.sigma("network.feeds_shell")),
            _ => {}
        }
        self.log.told.events().push(Arc::new(event.to_owned()));
        self.log.told.more.notify_all();
    }

    fn turn(&mut self) {}
}

fn is_ours(event: &dyn Event) -> bool {
    let me = i64::from(std::process::id());
    if event.head().class == Class::Loss || event.own("process.pid") == Some(Field::Int(me)) {
        return true;
    }
    let Some(Field::List(ancestors)) = event.own("process.ancestors") else { return false };
    let is_me = |(name, value): &(std::borrow::Cow<'_, str>, Field<'_>)| name == "pid" && *value == Field::Int(me);
    ancestors.iter().any(|a| matches!(a, Field::Map(parts) if parts.iter().any(is_me)))
}

impl Log {
    /// What is told from now on: a pid may have been another's before.
    fn onwards(&self) -> Self {
        Self { told: Arc::clone(&self.told), from: self.told.events().len() }
    }

    /// The first event that fits; panics with what there was when none comes.
    pub(crate) fn wait(&self, what: &str, fits: impl Fn(&OwnedEvent) -> bool) -> Arc<OwnedEvent> {
        let end = Instant::now() + patience();
        let mut events = self.told.events();
        // Each is looked at once: the sensor waits for this lock.
        let mut looked = self.from;
        loop {
            if let Some(found) = events[looked..].iter().find(|e| fits(e)) {
                return Arc::clone(found);
            }
            looked = events.len();
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                let tail: Vec<String> = events
                    .iter()
                    .rev()
                    .take(40)
                    .map(|e| {
                        format!("{} {} {}", e.head.class, text(e, "process.image"), text(e, "process.command_line"))
                    })
                    .collect();
                drop(events);
                panic!("not seen: {what}; the last of {} events were, newest first:\n{}", tail.len(), tail.join("\n"));
            }
            events = self.told.more.wait_timeout(events, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Until something comes, or a moment.
    fn pause(&self) {
        let events = self.told.events();
        drop(self.told.more.wait_timeout(events, Duration::from_millis(100)).unwrap_or_else(PoisonError::into_inner));
    }

    /// All that fit so far.
    pub(crate) fn all(&self, fits: impl Fn(&OwnedEvent) -> bool) -> Vec<Arc<OwnedEvent>> {
        self.told.events()[self.from..].iter().filter(|e| fits(e)).map(Arc::clone).collect()
    }
}

/// Below directories of this name reads are told.
pub(crate) const WATCHED: &str = "quell-watched";

struct Live {
    log: Arc<Log>,
    _running: Running,
}

/// Tests that flood hold it alone: a flood takes the others' events with it.
static QUIET: RwLock<()> = RwLock::new(());

/// The shared sensor, in quiet; `None`, loudly, where there can be none.
pub(crate) fn live() -> Option<Quiet> {
    let live = shared()?;
    let quiet = QUIET.read().unwrap_or_else(PoisonError::into_inner);
    // Under emulation it may still be at what the tests before this one did.
    if inside() {
        live.come_through();
    }
    Some(Quiet { log: live.log.onwards(), _quiet: quiet })
}

pub(crate) struct Quiet {
    /// What the shared sensor has told since.
    pub(crate) log: Log,
    _quiet: RwLockReadGuard<'static, ()>,
}

/// Runs what floods, alone; returns when the shared sensor has come through the flood too.
pub(crate) fn flood(test: impl FnOnce()) {
    let Some(live) = shared() else { return };
    let _alone = QUIET.write().unwrap_or_else(PoisonError::into_inner);
    test();
    live.come_through();
}

impl Live {
    /// Waits until what is done now is told: all that was done before it has been told, or counted as lost.
    fn come_through(&self) {
        let dir = tempfile::tempdir().unwrap();
        let end = Instant::now() + patience();
        let mut tried = 0;
        // What follows a flood may be lost with it: tried again until one is seen.
        while self.log.all(|e| Path::new(&text(e, "file.path")).parent() == Some(dir.path())).is_empty() {
            assert!(Instant::now() < end, "the shared sensor did not come through");
            tried += 1;
            std::fs::write(dir.path().join(tried.to_string()), "").unwrap();
            self.log.pause();
        }
    }
}

fn shared() -> Option<&'static Live> {
    static LIVE: OnceLock<Option<Live>> = OnceLock::new();
    LIVE.get_or_init(|| {
        let config = SensorConfig {
            watch: vec![format!("/**/{WATCHED}/"), "/etc/shadow".to_owned()],
            // This process's own files and connections are what is looked at.
            ignore_pids: Vec::new(),
            budget: 0,
            ..SensorConfig::new("test".into())
        };
        let log = Arc::new(Log::default());
        let running = start(config, Keep { log: Arc::clone(&log), ask: true })?;
        Some(Live { log, _running: running })
    })
    .as_ref()
}

/// Starts a sensor, or says loudly that nothing was tested.
pub(crate) fn start(config: SensorConfig, sink: impl Sink + 'static) -> Option<Running> {
    match Sensor::start(config, Box::new(sink)) {
        Ok(running) => {
            let end = Instant::now() + DEADLINE;
            while !running.stats().scanned {
                assert!(running.is_alive() && Instant::now() < end, "the sensor did not get through its scan");
                std::thread::yield_now();
            }
            assert_eq!(running.stats().missing, [], "every probe is in");
            Some(running)
        }
        Err(error @ (SensorError::NotPermitted | SensorError::NoBtf { .. } | SensorError::MapsRefused { .. })) => {
            not_tested(&format!("the sensor cannot run here: {error}"));
            None
        }
        Err(error) => panic!("{error}"),
    }
}

/// Says it past the test runner, which keeps what passing tests print to itself.
pub(crate) fn not_tested(what: &str) {
    writeln!(std::io::stderr(), "NOT TESTED: {what}").expect("stderr is open");
}

/// A field under quell's own name.
pub(crate) fn own(event: &OwnedEvent, path: &str) -> Json {
    let mut parts = path.split('.');
    let first = parts.next().and_then(|part| event.own.get(part));
    first.and_then(|first| parts.try_fold(first, |at, part| at.get(part))).cloned().unwrap_or_default()
}

pub(crate) fn text(event: &OwnedEvent, path: &str) -> String {
    own(event, path).as_str().unwrap_or_default().to_owned()
}

pub(crate) fn is_exec_of(event: &OwnedEvent, pid: u32) -> bool {
    event.head.class == Class::ProcessCreation && own(event, "process.pid") == pid
}

/// A copy of a program under another name.
pub(crate) fn copy_of(program: &str, to: &Path) {
    let from = ["/usr/bin", "/bin"].iter().map(|d| Path::new(d).join(program)).find(|p| p.exists());
    std::fs::copy(from.expect("a Debian has it"), to).unwrap();
}

/// Whether a program is there; says so loudly when not.
pub(crate) fn has(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let there = std::env::split_paths(&path).any(|dir| dir.join(program).exists());
    if !there {
        not_tested(&format!("`{program}` is not installed"));
    }
    there
}

/// Ends a child that may have ended by itself.
pub(crate) fn reap(mut child: Child) {
    if let Err(error) = child.kill() {
        eprintln!("the child had ended: {error}");
    }
    child.wait().unwrap();
}

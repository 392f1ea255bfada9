//! The way of the events alone: recorded ring records through decoder, process table and 200 rules on one core; and the
//! rate at which the kernel's side first loses one.
//!
//! Owns its loads: processes with command lines up to 1 kB, files and connections that nobody wants. Asserts no times.

#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    missing_docs,
    reason = "a benchmark prints, and ends when its stage breaks"
)]

#[path = "stage/mod.rs"]
mod stage;

use quell_detectors::{Sensor, SensorConfig, Sink, Tape};
use quell_engine::clock::SystemClock;
use quell_engine::detect::{Detector, RuleSource, Rules};
use quell_model::{Class, Clock, Detection, Event, Stamp};
use serde_json::{Value, json};
use stage::save;
use std::net::{SocketAddr, UdpSocket};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Rules in force, the shipped ones among them.
const RULES: usize = 200;
/// Processes on the tape.
const PROCESSES: usize = 4_000;
/// The longest command line.
const LONGEST: usize = 1_024;

/// What ships, and as many more as are wanted: of texts that nothing here has, as SigmaHQ's are written.
fn rules() -> Arc<Rules> {
    let mut sources: Vec<RuleSource> = quell_playbooks::rules()
        .into_iter()
        .map(|file| RuleSource::Text { name: file.name.to_owned(), text: file.text.to_owned() })
        .collect();
    for n in sources.len()..RULES {
        let text = format!(
            "title: bench {n}\nname: bench-{n}\nlevel: low\nlogsource: {{ product: linux, category: process_creation }}\n\
             detection:\n  tool: {{ Image|endswith: ['/tool{n}', '/kit{n}'] }}\n  \
             words: {{ CommandLine|contains: ['--steal{n}', 'http://evil{n}.example', '-e {n}cbd'] }}\n  \
             line: {{ CommandLine|re: '(?i)\\b(get|put){n}\\s+-[a-z]*x' }}\n  \
             honest: {{ ParentImage|endswith: '/honest{n}' }}\n  condition: ((tool and words) or line) and not honest\n"
        );
        sources.push(RuleSource::Text { name: format!("bench-{n}.yml"), text });
    }
    let (rules, report) = Rules::load(&sources, &[]);
    assert_eq!(rules.len(), RULES, "{:?}", report.skipped);
    Arc::new(rules)
}

/// As `quell up` has it: reads of some paths are events, and this process is not passed over.
fn config(budget: u64) -> SensorConfig {
    let watch =
        ["/etc/shadow", "/**/.ssh/id_*", "/**/.aws/credentials", "/**/.kube/config"].map(str::to_owned).to_vec();
    SensorConfig { watch, ignore_pids: Vec::new(), budget, ..SensorConfig::new("bench".into()) }
}

/// Every event through the rules.
struct Asked {
    detector: Detector,
    now: Stamp,
    out: Vec<Detection>,
    events: Arc<AtomicU64>,
}

impl Asked {
    fn new(rules: &Arc<Rules>, events: &Arc<AtomicU64>) -> Box<Self> {
        let detector = Detector::new(Arc::clone(rules));
        Box::new(Self { detector, now: SystemClock.now(), out: Vec::new(), events: Arc::clone(events) })
    }
}

impl Sink for Asked {
    fn event(&mut self, event: &dyn Event) {
        self.events.fetch_add(1, Ordering::Relaxed);
        self.detector.event(event, self.now, &mut self.out);
    }

    fn turn(&mut self) {
        self.out.clear();
    }
}

/// Only counted: what decoder and table cost without rules.
struct Counted(Arc<AtomicU64>);

impl Sink for Counted {
    fn event(&mut self, _: &dyn Event) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    fn turn(&mut self) {}
}

/// A command line of its own, up to [`LONGEST`] bytes, as compilers and scripts have them.
fn line(n: usize) -> Vec<String> {
    let wanted = 40 + n * 7_919 % (LONGEST - 60);
    let mut words = vec![format!("--job={n}")];
    let mut length = words[0].len();
    while length < wanted {
        let word = format!("-I/usr/include/part{}/lib{}", length * 31 % 97, (n + length) % 1_000);
        length += word.len() + 1;
        words.push(word);
    }
    words
}

/// Forks and execs, each with a file that is opened to write and one that is read.
fn honest_work(dir: &Path, count: usize) {
    for n in 0..count {
        let shell = n % 8 == 0;
        let mut command = Command::new(if shell { "/bin/sh" } else { "/bin/true" });
        if shell {
            command.args(["-c", "exec 3>\"$0\"; :"]).arg(dir.join("file"));
        } else {
            command.arg0("cc1");
        }
        drop(command.args(line(n)).stdin(Stdio::null()).status());
    }
}

fn record(dir: &Path) -> Option<Tape> {
    let done = Arc::new(AtomicBool::new(false));
    let (started, mut work) = (Arc::clone(&done), None);
    let dir = dir.to_owned();
    let tape = Tape::record(&config(0), || {
        work.get_or_insert_with(|| {
            let (done, dir) = (Arc::clone(&started), dir.clone());
            std::thread::spawn(move || {
                honest_work(&dir, PROCESSES);
                done.store(true, Ordering::Release);
            })
        });
        let ended = done.load(Ordering::Acquire);
        std::thread::sleep(Duration::from_micros(200));
        ended
    });
    match tape {
        Ok(tape) => Some(tape),
        Err(error) => {
            eprintln!("not measured: {error}");
            None
        }
    }
}

/// Nanoseconds an event of this thread's own time, the best of seven plays.
fn play(tape: &Tape, sink: impl Fn(&Arc<AtomicU64>) -> Box<dyn Sink>) -> (f64, u64) {
    let mut best = f64::MAX;
    let mut count = 0;
    for _ in 0..7 {
        let events = Arc::new(AtomicU64::new(0));
        let sink = sink(&events);
        let (wall, begin) = (Instant::now(), thread_time());
        tape.play(&config(0), sink).unwrap();
        let spent = thread_time().checked_sub(begin).unwrap_or_else(|| wall.elapsed());
        count = events.load(Ordering::Relaxed);
        best = best.min(spent.as_nanos() as f64 / tape.len() as f64);
    }
    (best, count)
}

fn thread_time() -> Duration {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(now.tv_sec.unsigned_abs(), u32::try_from(now.tv_nsec).unwrap())
}

/// Does one thing again and again at a rate for a while, on as many threads; gives how often it was done in a second.
fn at_rate(rate: u64, length: Duration, threads: u64, each: impl Fn(u64) + Sync) -> f64 {
    let done = AtomicU64::new(0);
    let begin = Instant::now();
    std::thread::scope(|scope| {
        for thread in 0..threads {
            let (done, each) = (&done, &each);
            scope.spawn(move || {
                let mut count = 0;
                while begin.elapsed() < length {
                    let due = (begin.elapsed().as_secs_f64() * rate as f64 / threads as f64) as u64;
                    while count < due && begin.elapsed() < length {
                        each(thread);
                        count += 1;
                    }
                    std::thread::sleep(Duration::from_micros(200));
                }
                done.fetch_add(count, Ordering::Relaxed);
            });
        }
    });
    done.load(Ordering::Relaxed) as f64 / begin.elapsed().as_secs_f64()
}

/// Doubles the rate until an event is lost or the machine makes no more of them.
fn first_loss(name: &str, class: Class, rules: &Arc<Rules>, threads: u64, each: impl Fn(u64) + Sync) -> Value {
    let mut rate = 2_000;
    let mut before = 0.0;
    loop {
        let events = Arc::new(AtomicU64::new(0));
        // Without budgets: what the rings and the reader bear.
        let running = match Sensor::start(config(0), Asked::new(rules, &events)) {
            Ok(running) => running,
            Err(error) => {
                eprintln!("not measured: {error}");
                return Value::Null;
            }
        };
        let made = at_rate(rate, Duration::from_secs(2), threads, &each);
        let end = Instant::now() + Duration::from_secs(5);
        let (mut seen, mut lost) = (0, 0);
        while Instant::now() < end {
            std::thread::sleep(Duration::from_millis(120));
            let stats = running.stats();
            let of = |counts: &[(Class, u64)]| counts.iter().find(|(c, _)| *c == class).map_or(0, |(_, n)| *n);
            let now = of(&stats.events);
            lost = of(&stats.lost);
            if now == seen {
                break;
            }
            seen = now;
        }
        running.stop();
        if lost > 0 {
            println!(
                "{name}: the first {class} events were lost at {made:.0}/s: {lost} of {}; none at {before:.0}/s",
                seen + lost
            );
            return json!({ "name": name, "first_loss_per_s": made, "lost": lost, "without_loss_per_s": before });
        }
        if made < rate as f64 * 0.7 {
            println!("{name}: nothing lost at {made:.0}/s, and this machine makes no more");
            return json!({ "name": name, "first_loss_per_s": null, "lost": 0, "without_loss_per_s": made });
        }
        before = made;
        rate *= 2;
    }
}

fn main() {
    let dir = tempfile::tempdir().unwrap();
    let rules = rules();
    let mut rows = Vec::new();
    if let Some(tape) = record(dir.path()) {
        let bytes: usize = tape.records().map(<[u8]>::len).sum();
        println!(
            "{} ring records of {} bytes on average, command lines up to {LONGEST} bytes; {} lost while recording",
            tape.len(),
            bytes / tape.len().max(1),
            tape.lost()
        );
        type Way<'w> = (&'w str, Box<dyn Fn(&Arc<AtomicU64>) -> Box<dyn Sink> + 'w>);
        let ways: [Way<'_>; 2] = [
            ("decoder and table", Box::new(|events| Box::new(Counted(Arc::clone(events))))),
            ("decoder, table and 200 rules", Box::new(|events| Asked::new(&rules, events))),
        ];
        for (name, sink) in ways {
            let (ns, events) = play(&tape, sink);
            println!("{name}: {ns:.0} ns a record, {:.0} records/s on one core ({events} events)", 1e9 / ns);
            rows.push(json!({ "name": name, "ns_per_record": ns, "records_per_s": 1e9 / ns, "events": events, "rules": RULES }));
        }
    }
    println!(
        "\nfloods that double until something is lost; the sensor with {RULES} rules beside them on the same cores"
    );
    let file = |thread: u64| dir.path().join(format!("flood{thread}"));
    rows.push(first_loss("files opened to write", Class::FileEvent, &rules, 2, |thread| {
        drop(std::fs::File::create(file(thread)));
    }));
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let port = AtomicU64::new(0);
    rows.push(first_loss("datagram connects", Class::NetworkConnection, &rules, 2, |_| {
        let to = SocketAddr::from((
            [127, 0, 0, 1],
            1_024 + u16::try_from(port.fetch_add(1, Ordering::Relaxed) % 60_000).unwrap(),
        ));
        drop(socket.connect(to));
    }));
    rows.push(first_loss("forks and execs", Class::ProcessCreation, &rules, 2, |_| {
        drop(Command::new("/bin/true").stdin(Stdio::null()).status());
    }));
    save("throughput", &rows);
}

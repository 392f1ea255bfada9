//! Clicks in Slack at the real daemon: from the connection to HTTP 200, signed as Slack signs, with ten thousand open ladders and the
//! engine and its journal busy; and ten thousand clicks that mean nothing.
//!
//! Owns a data directory whose journal is written for it, a daemon without a sensor, and the runs that keep it at work. Asserts no times:
//! machines are noisy. Asserts that each click of somebody who may has its effect, once, and that no other has any.

#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    missing_docs,
    reason = "a benchmark prints, and ends when its stage breaks"
)]

#[path = "../engine/benches/people/filled.rs"]
mod filled;
#[path = "../tests/people/signed.rs"]
#[allow(dead_code, reason = "the tests use more of it")]
mod signed;
#[path = "stage/mod.rs"]
mod stage;

use filled::{GENERATION, RECORDS, WAIT, fill, incident};
use quell_actions::notify::mark::{Mark, MarkKey};
use quell_engine::clock::SystemClock;
use quell_engine::store::{Journal, marks_key};
use quell_model::record::LadderChange;
use quell_model::{Body, Clock, LadderId, StreamId};
use serde_json::{Value, json};
use signed::{Signed, exchange, now};
use stage::{row, save};
use std::fmt::Write as _;
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{JoinHandle, sleep};
use std::time::{Duration, Instant};

/// What Slack signs with.
const SECRET: &str = "8f742231b10e8888abcd99yyyzzz85a5";
const OLDER: &str = "the secret of before";
/// May answer; may look; is nobody.
const ANA: &str = "U0ANA0001";
const CY: &str = "U0CY00001";
const STRANGER: &str = "U0NOBODY1";

/// Open ladders.
const LADDERS: usize = 10_000;
/// Clicks of somebody who may, each on a ladder of its own, and how many of them before anything else is at work.
const CLICKS: usize = 1_000;
const QUIET: usize = 200;
/// Clicks that mean nothing.
const REFUSED: usize = 10_000;
/// Between two clicks that are timed: faster than people are, slower than what would only fill the queue.
const PACE: Duration = Duration::from_millis(5);
/// Runs that are kept at work, each a chain of scripts.
const RUNS: u64 = 16;
const STEPS: usize = 500;
/// So long a request that was signed is known again, and not merely stale.
const FRESH: Duration = Duration::from_secs(300);

fn main() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("not measured: once escalation.yaml names people, only root may ask the daemon here");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    fs::create_dir(&data).unwrap();
    let far = SystemClock.now().after(WAIT);
    fill(&data, LADDERS, |_| "ana".into(), |_| far);
    let site = Site::start(dir.path(), data);
    let begin = Instant::now();
    let (mut done, quiet) = site.click_on(0..QUIET);
    let mut rows = vec![row("click to HTTP 200, nothing else at work", quiet)];
    let busy = Busy::begin(&site.data);
    sleep(Duration::from_secs(1));
    let (records, since) = (site.records(), Instant::now());
    let (more, spans) = site.click_on(QUIET..CLICKS);
    let rate = (site.records() - records) / since.elapsed().as_secs_f64();
    done.extend(more);
    rows.push(row(&format!("click to HTTP 200, beside {RUNS} runs"), spans));
    println!("    meanwhile the journal took {rate:.0} records a second");
    let sent = site.press_in_vain(&done, begin);
    println!("    {} runs were begun beside all this", busy.end());
    // What waits is done in its order.
    let last = site.click(CLICKS, ANA, "acknowledge", GENERATION);
    site.press(&last, 200);
    site.until_acknowledged(CLICKS);
    let (data, log) = site.end();
    assert!(!log.contains("the end came before all was done"), "{log}");
    let came = Came::of(&data);
    println!(
        "{} of {} clicks of somebody who may had their effect, once; of {REFUSED} others ({} exact replays, {} of other generations, {} of those who \
         may not) {} had one; {} records say who was late, {} who was turned away; {} were put off for want of room, and sent again",
        came.acknowledged,
        CLICKS + 1,
        sent.replays,
        sent.stale,
        sent.away,
        came.effects,
        came.late,
        came.away,
        sent.put_off,
    );
    rows.push(json!({ "name": "in vain", "records_a_second": rate, "refused": REFUSED, "effects": came.effects }));
    save("clicks", &rows);
    assert_eq!((came.acknowledged, came.effects), (CLICKS + 1, 0));
}

/// The daemon, and how it is reached.
struct Site {
    daemon: Child,
    dir: PathBuf,
    data: PathBuf,
    port: u16,
    key: MarkKey,
}

/// What was sent that means nothing.
#[derive(Default)]
struct Sent {
    replays: usize,
    stale: usize,
    away: usize,
    put_off: usize,
}

impl Site {
    /// Answering when this returns.
    fn start(dir: &Path, data: PathBuf) -> Self {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        fs::create_dir(dir.join("playbooks")).unwrap();
        fs::write(dir.join("playbooks/busy.yaml"), chain()).unwrap();
        fs::write(dir.join("escalation.yaml"), PEOPLE).unwrap();
        let token = "0".repeat(64);
        let config = format!(
            "mode: enforce\nplaybooks: {{ shipped: false, dirs: [playbooks] }}\nrules: {{ shipped: false }}\n\
             sources: {{ sensor: {{ enabled: false }} }}\nguard: {{ only_within: {{ cgroup: /quell-no-such-cgroup }} }}\nescalation: escalation.yaml\n\
             access: {{ listen: {{ address: \"127.0.0.1:{port}\", tokens: [{{ name: ci, role: viewer, sha256: \"{token}\" }}] }} }}\n"
        );
        fs::write(dir.join("quell.yaml"), config).unwrap();
        let mut up = Command::new(env!("CARGO_BIN_EXE_quell"));
        up.args(["up", "--config"]).arg(dir.join("quell.yaml")).arg("--data-dir").arg(&data);
        up.envs([("BENCH_SLACK", "xoxb-0001-quell-bench"), ("BENCH_SIGNS", SECRET)]);
        up.stdin(Stdio::null()).stdout(Stdio::null()).stderr(fs::File::create(dir.join("log")).unwrap());
        let daemon = up.spawn().unwrap();
        let key = MarkKey::new(marks_key(&data).unwrap());
        let site = Self { daemon, dir: dir.to_owned(), data, port, key };
        let end = Instant::now() + Duration::from_secs(60);
        let stands = || {
            let status = api(&site.data, "GET", "/v1/status", "").map(|text| read(&text)).unwrap_or_default();
            let is_up = status["state"].as_str().is_some_and(|state| state != "starting");
            is_up && std::net::TcpStream::connect(("127.0.0.1", port)).is_ok()
        };
        while !stands() {
            assert!(Instant::now() < end, "no daemon: {}", site.log());
            sleep(Duration::from_millis(50));
        }
        site
    }

    fn log(&self) -> String {
        fs::read_to_string(self.dir.join("log")).unwrap()
    }

    /// A click on the button of this ladder's message, as one of this generation had it.
    fn click(&self, n: usize, user: &str, act: &str, generation: u32) -> Signed {
        clicked(&self.key, n, user, act, generation)
    }

    /// Somebody looks after each of these: the requests, and how long each took.
    fn click_on(&self, which: std::ops::Range<usize>) -> (Vec<Signed>, Vec<Duration>) {
        let one = |n: usize| {
            let request = self.click(n, ANA, "acknowledge", GENERATION);
            let begin = Instant::now();
            let (status, said) = exchange(self.port, "POST", request.path, &request.headers, &request.body);
            let span = begin.elapsed();
            assert_eq!(status, 200, "{said}");
            sleep(PACE.saturating_sub(span));
            (request, span)
        };
        which.map(one).unzip()
    }

    /// Sends it until it is answered by this, and gives how often there was no room for it.
    fn press(&self, request: &Signed, wants: u16) -> usize {
        let mut put_off = 0;
        loop {
            match exchange(self.port, "POST", request.path, &request.headers, &request.body) {
                (status, _) if status == wants => return put_off,
                (503, _) => sleep(PACE),
                (status, said) => panic!("{status}: {said}"),
            }
            put_off += 1;
        }
    }

    /// Ten thousand of three kinds, in turn: what was done before once more, generations that do not stand, people who may not.
    fn press_in_vain(&self, done: &[Signed], begin: Instant) -> Sent {
        const ACTS: [&str; 3] = ["acknowledge", "escalate", "resolve"];
        const GENERATIONS: [u32; 4] = [0, 1, GENERATION - 1, GENERATION + 1];
        let others = MarkKey::new([7; 32]);
        let mut sent = Sent::default();
        for n in 0..REFUSED {
            let round = n / 3;
            let ladder = CLICKS + 1 + round % (LADDERS - CLICKS - 1);
            let act = ACTS[round / 4 % ACTS.len()];
            sent.put_off += match n % 3 {
                0 => {
                    sent.replays += 1;
                    self.press(&done[round % done.len()], 200)
                }
                1 => {
                    sent.stale += 1;
                    self.press(&self.click(ladder, ANA, act, GENERATIONS[round % 4]), 200)
                }
                _ => {
                    sent.away += 1;
                    match round % 4 {
                        0 => self.press(&self.click(ladder, STRANGER, act, GENERATION), 200),
                        1 => self.press(&self.click(ladder, CY, act, GENERATION), 200),
                        2 => self.press(&clicked(&others, ladder, ANA, act, GENERATION), 200),
                        _ => {
                            let Signed { path, body, .. } = self.click(ladder, ANA, act, GENERATION);
                            self.press(&Signed::by("another secret", now(), path, body), 401)
                        }
                    }
                }
            };
        }
        assert!(begin.elapsed() < FRESH, "too slow: the last replays were stale, and no replays");
        sent
    }

    fn until_acknowledged(&self, n: usize) {
        let path = format!("/v1/incidents/{}", incident(n));
        let end = Instant::now() + Duration::from_secs(60);
        while read(&api(&self.data, "GET", &path, "").unwrap())["state"] != "acknowledged" {
            assert!(Instant::now() < end, "the last click has no effect: {}", self.log());
            sleep(Duration::from_millis(20));
        }
    }

    /// Records that the journal's database has.
    fn records(&self) -> f64 {
        let page = api(&self.data, "GET", "/metrics", "").unwrap();
        let line = page.lines().find_map(|line| line.strip_prefix("quell_journal_records_total "));
        line.unwrap().parse().unwrap()
    }

    /// Ends it as a supervisor would; gives its data directory and what it logged.
    fn end(mut self) -> (PathBuf, String) {
        drop(Command::new("kill").arg("-TERM").arg(self.daemon.id().to_string()).status());
        let status = self.daemon.wait().unwrap();
        assert!(status.success(), "{status}: {}", self.log());
        (self.data.clone(), self.log())
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        drop(self.daemon.kill());
        drop(self.daemon.wait());
    }
}

/// ana may answer, cy may look.
const PEOPLE: &str = "people:\n  ana: { identities: { slack: U0ANA0001 }, roles: [responder] }\n  \
    cy: { identities: { slack: U0CY00001 }, roles: [viewer] }\nchannels:\n  \
    slack: { bot_token: { env: BENCH_SLACK }, signing_secret: { env: BENCH_SIGNS }, api_url: \"http://127.0.0.1:9/api\", channel: \"#incidents\" }\n\
    policies:\n  default: { steps: [{ notify: [channel: slack], wait: 1h }], last_resort: [person: ana] }\nroutes: [{ policy: default }]\n";

/// One script after the other, each of which is written down.
fn chain() -> String {
    let mut text = "playbook: busy\ndescription: One script after the other.\non: { manual: true }\nmode: enforce\n\
        inputs: { n: { type: integer } }\nsteps:\n"
        .to_owned();
    for at in 0..STEPS {
        let needs = if at == 0 { String::new() } else { format!("needs: [s{}], ", at - 1) };
        writeln!(text, "  s{at}: {{ {needs}script: \"#{{ n: inputs.n + {at} }}\" }}").unwrap();
    }
    text
}

fn clicked(key: &MarkKey, n: usize, user: &str, act: &str, generation: u32) -> Signed {
    let mark = key.seal(&Mark { ladder: LadderId::incident(&incident(n)), generation, person: None });
    let mut payload = signed::click(user, act, &mark, "");
    // Nobody is told what came of it: what is measured comes before.
    payload.as_object_mut().unwrap().remove("response_url");
    Signed::click(&payload)
}

fn read(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_default()
}

/// One exchange on the daemon's socket; the body, if somebody answers.
fn api(data: &Path, method: &str, path: &str, body: &str) -> Option<String> {
    let mut socket = UnixStream::connect(data.join("quell.sock")).ok()?;
    let kind = "content-type: application/json";
    let length = body.len();
    let head = format!("{method} {path} HTTP/1.0\r\nhost: quell\r\n{kind}\r\ncontent-length: {length}\r\n\r\n");
    socket.write_all((head + body).as_bytes()).ok()?;
    let mut answer = String::new();
    socket.read_to_string(&mut answer).ok()?;
    Some(answer.split_once("\r\n\r\n")?.1.to_owned())
}

/// Runs that are begun anew as they end.
struct Busy {
    end: Arc<AtomicBool>,
    worker: JoinHandle<u64>,
}

impl Busy {
    fn begin(data: &Path) -> Self {
        let (data, end) = (data.to_owned(), Arc::new(AtomicBool::new(false)));
        let seen = Arc::clone(&end);
        let worker = std::thread::spawn(move || {
            let mut begun = 0;
            while !seen.load(Ordering::Relaxed) {
                let open = read(&api(&data, "GET", "/v1/status", "").unwrap())["runs_open"].as_u64().unwrap();
                for _ in open..RUNS {
                    let wish = json!({ "playbook": "busy", "inputs": { "n": begun } }).to_string();
                    let answer = api(&data, "POST", "/v1/runs", &wish).unwrap();
                    assert!(read(&answer)["id"].is_string(), "{answer}");
                    begun += 1;
                }
                sleep(PACE);
            }
            begun
        });
        Self { end, worker }
    }

    /// How many were begun.
    fn end(self) -> u64 {
        self.end.store(true, Ordering::Relaxed);
        self.worker.join().unwrap()
    }
}

/// What the journal says came of all clicks.
#[derive(Default)]
struct Came {
    /// Ladders and incidents on which a click of somebody who may had its effect, and nothing else.
    acknowledged: usize,
    /// Records that are neither.
    effects: usize,
    late: usize,
    away: usize,
}

impl Came {
    fn of(data: &Path) -> Self {
        let journal = Journal::open_read_only(data).unwrap();
        let mut came = Self::default();
        for n in 0..LADDERS {
            let id = incident(n);
            let after = |stream: StreamId, filled: usize| {
                let records = journal.read(&stream, u64::try_from(filled).unwrap() + 1).unwrap();
                records.into_iter().map(|record| record.body).collect::<Vec<Body>>()
            };
            let told = after(StreamId::ladder(&LadderId::incident(&id)), RECORDS.1);
            let of_incident = after(StreamId::incident(&id), RECORDS.0);
            let is_wanted = n <= CLICKS;
            let mut answered = 0;
            for body in &told {
                match body {
                    Body::LadderChanged(changed) => match changed.change {
                        LadderChange::Answered if is_wanted => answered += 1,
                        LadderChange::AnsweredTooLate => came.late += 1,
                        LadderChange::TurnedAway => came.away += 1,
                        _ => came.effects += 1,
                    },
                    _ => came.effects += 1,
                }
            }
            let is_by = |body: &&Body| matches!(body, Body::AcknowledgementChanged(changed) if changed.acknowledged);
            let acknowledged = of_incident.iter().filter(|body| is_wanted && is_by(body)).count();
            came.effects += of_incident.len() - acknowledged + answered.max(1) - 1 + acknowledged.max(1) - 1;
            came.acknowledged += usize::from((answered, acknowledged) == (1, 1));
        }
        came
    }
}

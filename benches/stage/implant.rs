//! What runs in the pods of the benchmark: this program again, in an image of its own. One container waits for a word, and then has a shell
//! started on its connection; the other, once it is told to, says that it lives again and again, until nobody can be told.
//!
//! Each calls this machine first, and names its role and its pod in a line.

use quell_engine::clock::SystemClock;
use quell_model::Clock;
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Between two signs of life.
const TICK: Duration = Duration::from_micros(200);

/// Does its part, where this process is one in a pod: `ROLE HOST PORT`.
pub(crate) fn plays() -> bool {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [role, host, port] = &words[..] else { return false };
    let part: fn(TcpStream) = match role.as_str() {
        "implant" => implant,
        "ticks" => ticks,
        _ => return false,
    };
    let to = format!("{host}:{port}");
    let mut line = loop {
        match TcpStream::connect(&to) {
            Ok(line) => break line,
            Err(_) => std::thread::sleep(Duration::from_millis(50)),
        }
    };
    line.set_nodelay(true).unwrap();
    let pod = std::env::var("HOSTNAME").unwrap();
    line.write_all(format!("{role} {pod}\n").as_bytes()).unwrap();
    if line.read_exact(&mut [0]).is_ok() {
        part(line);
    }
    // A container that ended would be started anew.
    loop {
        std::thread::park();
    }
}

fn implant(line: TcpStream) {
    let end = || Stdio::from(OwnedFd::from(line.try_clone().unwrap()));
    let mut shell = Command::new("/bin/sh");
    let started = shell.stdin(end()).stdout(end()).stderr(end()).spawn();
    drop((shell, line));
    drop(started.unwrap().wait());
}

fn ticks(mut line: TcpStream) {
    while line.write_all(b".").is_ok() {
        std::thread::sleep(TICK);
    }
}

/// Those who have called, by role and pod.
#[derive(Clone, Default)]
pub(crate) struct Callers(Arc<Mutex<BTreeMap<(String, String), TcpStream>>>);

impl Callers {
    /// At this address, on a port that it gives.
    pub(crate) fn at(address: &str) -> (Self, u16) {
        let listener = TcpListener::bind((address, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let callers = Self::default();
        let all = callers.clone();
        std::thread::spawn(move || {
            for line in listener.incoming().flatten() {
                let mut name = String::new();
                let read = BufReader::new(line.try_clone().unwrap()).read_line(&mut name);
                if let (Ok(_), Some((role, pod))) = (read, name.trim().split_once(' ')) {
                    all.0.lock().unwrap().insert((role.to_owned(), pod.to_owned()), line);
                }
            }
        });
        (callers, port)
    }

    /// Whether both of a pod have.
    pub(crate) fn have(&self, pod: &str) -> bool {
        let all = self.0.lock().unwrap();
        ["implant", "ticks"].iter().all(|role| all.contains_key(&((*role).to_owned(), pod.to_owned())))
    }

    /// The connection of one; nobody else gets it.
    pub(crate) fn take(&self, role: &str, pod: &str) -> TcpStream {
        self.0.lock().unwrap().remove(&(role.to_owned(), pod.to_owned())).unwrap()
    }
}

/// When something was heard last of a pod that says that it lives.
pub(crate) struct Signs {
    last: Arc<AtomicU64>,
    /// It is read as long as this stands.
    _line: TcpStream,
}

impl Signs {
    /// Tells it to begin, and waits until it has.
    pub(crate) fn of(mut line: TcpStream) -> Self {
        let last = Arc::<AtomicU64>::default();
        let (heard, mut from) = (Arc::clone(&last), line.try_clone().unwrap());
        std::thread::spawn(move || {
            let mut piece = [0; 4096];
            while matches!(from.read(&mut piece), Ok(1..)) {
                heard.store(SystemClock.now().boot_ns, Ordering::Relaxed);
            }
        });
        line.write_all(b"g").unwrap();
        while last.load(Ordering::Relaxed) == 0 {
            std::thread::sleep(Duration::from_millis(1));
        }
        Self { last, _line: line }
    }

    /// How long after this moment.
    pub(crate) fn last_after(&self, moment: quell_model::Stamp) -> Duration {
        Duration::from_nanos(self.last.load(Ordering::Relaxed).saturating_sub(moment.boot_ns))
    }
}

/// The shell of the image.
pub(crate) fn shell(root: &Path) {
    let busybox = ["/bin/busybox", "/usr/bin/busybox"].into_iter().find(|path| Path::new(path).exists());
    let busybox = busybox.expect("there is no busybox; hint: `scripts/setup cluster`");
    std::fs::copy(busybox, root.join("bin/busybox")).unwrap();
    std::os::unix::fs::symlink("busybox", root.join("bin/sh")).unwrap();
}

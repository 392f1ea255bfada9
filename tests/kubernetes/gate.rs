//! What stands before the API server: lets each request pass, and counts them, until it comes to the one at which somebody is to die. From
//! then on nothing passes.
//!
//! Speaks HTTP in the clear on the near side; `kubectl proxy` is whom it leads to.

#![allow(clippy::unwrap_used, reason = "a test: what cannot be done fails it")]

use crate::cli::{Bounded, write};
use crate::cluster::{Cluster, until};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::{Arc, Mutex};

/// On which side of a request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Side {
    /// The API server has not got it.
    Before,
    /// It has answered, and nobody has the answer.
    After,
}

/// What is counted.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
enum Counts {
    /// All but watches.
    #[default]
    Requests,
    /// What changes something there: neither questions nor what is only tried.
    Writes,
}

#[derive(Default)]
struct State {
    counts: Counts,
    /// So many since it was told to count.
    count: u64,
    at: Option<(u64, Side)>,
    /// It has come there.
    shut: bool,
}

/// See the module.
pub(super) struct Gate {
    pub(super) kubeconfig: PathBuf,
    state: Arc<Mutex<State>>,
    _beyond: Bounded,
    _dir: tempfile::TempDir,
}

impl Gate {
    pub(super) fn before(cluster: &Cluster) -> Self {
        let mut beyond = cluster.kubectl(&["proxy", "--port=0"]).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(beyond.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let to = line.trim().strip_prefix("Starting to serve on ").unwrap_or_else(|| panic!("{line}")).to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let dir = tempfile::tempdir().unwrap();
        let server = format!("http://{}", listener.local_addr().unwrap());
        let text = format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: gate\nclusters: [{{ name: gate, cluster: {{ server: \"{server}\" }} }}]\n\
             users: [{{ name: gate, user: {{}} }}]\ncontexts: [{{ name: gate, context: {{ cluster: gate, user: gate }} }}]\n"
        );
        let kubeconfig = write(dir.path(), "kubeconfig", &text);
        let state = Arc::<Mutex<State>>::default();
        let shared = Arc::clone(&state);
        // It ends with the process of the tests, as what it serves may outlive a test that fails.
        std::thread::spawn(move || {
            for near in listener.incoming().flatten() {
                let Ok(far) = TcpStream::connect(&to) else { continue };
                let (state, there, back) =
                    (Arc::clone(&shared), Arc::clone(&shared), (near.try_clone(), far.try_clone()));
                let (Ok(near_again), Ok(far_again)) = back else { continue };
                if state.lock().unwrap().shut {
                    continue;
                }
                // Whether the next answer on this connection is the one that nobody gets.
                let kept = Arc::<Mutex<bool>>::default();
                let asked = Arc::clone(&kept);
                std::thread::spawn(move || requests(near, far, |request| comes(&there, &asked, request)));
                std::thread::spawn(move || answers(far_again, near_again, || answered(&state, &kept)));
            }
        });
        Self { kubeconfig, state, _beyond: Bounded(beyond), _dir: dir }
    }

    /// Counts from now on, and shuts there.
    pub(super) fn counts_to(&self, at: Option<(u64, Side)>) {
        *self.state.lock().unwrap() = State { at, ..State::default() };
    }

    /// The same, and counts only what changes something there.
    pub(super) fn counts_writes_to(&self, at: Option<(u64, Side)>) {
        *self.state.lock().unwrap() = State { at, counts: Counts::Writes, ..State::default() };
    }

    /// How many there were.
    pub(super) fn count(&self) -> u64 {
        self.state.lock().unwrap().count
    }

    /// Waits until it has shut, or `over` says that it will not any more.
    pub(super) fn shuts(&self, mut over: impl FnMut() -> bool) -> bool {
        until("it has come to that request, or to the end", || {
            let shut = self.state.lock().unwrap().shut;
            (shut || over()).then_some(shut)
        })
    }
}

impl Counts {
    fn is_one(self, request: &str) -> bool {
        let line = request.lines().next().unwrap_or_default();
        match self {
            Self::Requests => !line.contains("watch="),
            Self::Writes => !line.starts_with("GET ") && !line.contains("reviews") && !request.contains("dryRun"),
        }
    }
}

/// Whether this request of a client may pass.
fn comes(state: &Mutex<State>, kept: &Mutex<bool>, request: &str) -> bool {
    let mut state = state.lock().unwrap();
    if !state.shut && state.counts.is_one(request) {
        state.count += 1;
        match state.at {
            Some((at, Side::Before)) if at == state.count => state.shut = true,
            Some((at, Side::After)) if at == state.count => *kept.lock().unwrap() = true,
            _ => {}
        }
    }
    !state.shut
}

/// Whether an answer may pass.
fn answered(state: &Mutex<State>, kept: &Mutex<bool>) -> bool {
    let mut state = state.lock().unwrap();
    state.shut |= *kept.lock().unwrap();
    !state.shut
}

/// Whether all of a request has come: its head, and as much of a body as that says.
fn is_whole(request: &[u8]) -> bool {
    let Some(end) = request.windows(4).position(|four| four == b"\r\n\r\n") else { return false };
    let head = String::from_utf8_lossy(&request[..end]).to_ascii_lowercase();
    let length: Option<usize> = head.lines().find_map(|line| line.strip_prefix("content-length:")?.trim().parse().ok());
    request.len() >= end + 4 + length.unwrap_or(0)
}

/// Passes requests on, each as a whole, while they may.
fn requests(mut near: TcpStream, mut far: TcpStream, mut may: impl FnMut(&str) -> bool) {
    let (mut request, mut piece) = (Vec::new(), vec![0; 1 << 16]);
    while let Ok(count @ 1..) = near.read(&mut piece) {
        request.extend_from_slice(&piece[..count]);
        if !is_whole(&request) {
            continue;
        }
        if !may(&String::from_utf8_lossy(&request)) {
            keeps_back(&mut near);
            break;
        }
        if far.write_all(&request).is_err() {
            break;
        }
        request.clear();
    }
    drop(far.shutdown(Shutdown::Both));
}

/// Passes on what is answered, while it may.
fn answers(mut far: TcpStream, mut near: TcpStream, mut may: impl FnMut() -> bool) {
    let mut piece = vec![0; 1 << 16];
    while let Ok(count @ 1..) = far.read(&mut piece) {
        if !may() {
            keeps_back(&mut far);
            break;
        }
        if near.write_all(&piece[..count]).is_err() {
            break;
        }
    }
    drop(near.shutdown(Shutdown::Both));
}

/// What is kept back is not an end that anybody could see: the connection stays until one of both ends dies.
fn keeps_back(from: &mut TcpStream) {
    let mut piece = [0; 4096];
    while matches!(from.read(&mut piece), Ok(1..)) {}
}

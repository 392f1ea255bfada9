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

#[derive(Default)]
struct State {
    /// Requests since it was told to count, but for watches.
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
                std::thread::spawn(move || pass(near, far, |bytes| comes(&there, &asked, bytes)));
                std::thread::spawn(move || pass(far_again, near_again, |_| answered(&state, &kept)));
            }
        });
        Self { kubeconfig, state, _beyond: Bounded(beyond), _dir: dir }
    }

    /// Counts from now on, and shuts there.
    pub(super) fn counts_to(&self, at: Option<(u64, Side)>) {
        *self.state.lock().unwrap() = State { at, ..State::default() };
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

/// Whether these bytes of a client may pass.
fn comes(state: &Mutex<State>, kept: &Mutex<bool>, bytes: &[u8]) -> bool {
    let mut state = state.lock().unwrap();
    let line = String::from_utf8_lossy(bytes.split(|byte| *byte == b'\r').next().unwrap_or_default()).into_owned();
    let is_request = ["GET /", "POST /", "PUT /", "PATCH /", "DELETE /"].iter().any(|verb| line.starts_with(verb));
    if is_request && !line.contains("watch=") && !state.shut {
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

/// Passes on what comes, while it may.
fn pass(mut from: TcpStream, mut to: TcpStream, mut may: impl FnMut(&[u8]) -> bool) {
    let mut piece = vec![0; 1 << 16];
    while let Ok(count @ 1..) = from.read(&mut piece) {
        // What is kept back is not an end that anybody could see: the connections stay until one of both ends dies.
        if !may(&piece[..count]) {
            while matches!(from.read(&mut piece), Ok(1..)) {}
            break;
        }
        if to.write_all(&piece[..count]).is_err() {
            break;
        }
    }
    drop(to.shutdown(Shutdown::Both));
}

//! Goal: nobody who is slow or silent keeps a place, or anybody from being answered.
//! Method: real sockets of both ways, routes that wait for the test, and bounds that a test can wait for.

use super::*;
use axum::routing::{get, post};
use futures_util::stream;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::sync::{Semaphore, SemaphorePermit};

const SHORT: Bounds = Bounds { connections: 3, write: Duration::from_millis(200) };
/// Far more than the kernel keeps for somebody who does not read.
const LARGE: usize = 32 << 20;
/// What does not come by then does not come.
const DEADLINE: Duration = Duration::from_secs(60);

/// A stream of the API's, for tests.
trait Wire: AsyncRead + AsyncWrite + Unpin + Send {}
impl<S: AsyncRead + AsyncWrite + Unpin + Send> Wire for S {}

enum At {
    Socket(PathBuf),
    Tcp(SocketAddr),
}

/// The API's loop with routes of a test's own.
struct Served {
    at: At,
    /// Bodies that have begun and not ended, and requests that have begun to wait.
    open: Arc<AtomicUsize>,
    /// Lets one that waits be answered.
    answer: Arc<Semaphore>,
    _end: watch::Sender<bool>,
    _tasks: JoinSet<()>,
    _dir: tempfile::TempDir,
}

/// Counts a body while it lives.
struct Open(Arc<AtomicUsize>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

async fn served(tcp: bool) -> Served {
    served_within(SHORT, tcp).await
}

async fn served_within(bounds: Bounds, tcp: bool) -> Served {
    let dir = tempfile::tempdir().unwrap();
    let (listener, at) = if tcp {
        let tcp = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let at = At::Tcp(tcp.local_addr().unwrap());
        (Listener::Tcp(tcp, None), at)
    } else {
        let path = dir.path().join("s");
        (Listener::Socket(UnixListener::bind(&path).unwrap()), At::Socket(path))
    };
    let (open, answer) = (Arc::<AtomicUsize>::default(), Arc::new(Semaphore::new(0)));
    let (of, waits) = (Arc::clone(&open), Arc::clone(&answer));
    let endless = move || {
        of.fetch_add(1, Ordering::SeqCst);
        let open = Open(Arc::clone(&of));
        let chunk = move |()| {
            let _open = &open;
            Ok::<_, Infallible>(vec![b'x'; 64 << 10])
        };
        let body = Body::from_stream(futures_util::StreamExt::map(stream::repeat(()), chunk));
        async { body }
    };
    let count = Arc::clone(&open);
    let wait = move || async move {
        count.fetch_add(1, Ordering::SeqCst);
        drop(waits.acquire().await.map(SemaphorePermit::forget));
        "at last"
    };
    let router = Router::new()
        .route("/", get(|| async { "here" }))
        .route("/endless", get(endless))
        .route("/large", get(|| async { vec![b'x'; LARGE] }))
        .route("/waits", get(wait))
        .route("/reads", post(|body: String| async move { body }));
    let (sender, end) = watch::channel(false);
    let mut tasks = JoinSet::new();
    tasks.spawn(within(bounds, listener, router, end));
    Served { at, open, answer, _end: sender, _tasks: tasks, _dir: dir }
}

impl Served {
    async fn connect(&self) -> Box<dyn Wire> {
        match &self.at {
            At::Socket(path) => Box::new(UnixStream::connect(path).await.unwrap()),
            At::Tcp(address) => Box::new(TcpStream::connect(address).await.unwrap()),
        }
    }

    /// Somebody who has written this.
    async fn says(&self, text: &str) -> Box<dyn Wire> {
        let mut wire = self.connect().await;
        wire.write_all(text.as_bytes()).await.unwrap();
        wire
    }

    async fn asks(&self, path: &str) -> Box<dyn Wire> {
        self.says(&format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")).await
    }
}

/// All that comes until the other side closes.
async fn rest(mut wire: Box<dyn Wire>) -> String {
    let mut text = Vec::new();
    // A reset is an end as well.
    drop(timeout(DEADLINE, wire.read_to_end(&mut text)).await.expect("it is ended"));
    String::from_utf8_lossy(&text).into_owned()
}

async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let waited = timeout(DEADLINE, async {
        while !holds() {
            tokio::task::yield_now().await;
        }
    });
    waited.await.unwrap_or_else(|_| panic!("{what}"));
}

#[tokio::test]
async fn a_reader_that_takes_nothing_is_ended_by_both_ways() {
    for tcp in [false, true] {
        let served = served(tcp).await;
        let held = served.asks("/endless").await;
        until("it is answered", || served.open.load(Ordering::SeqCst) == 1).await;
        until("it is ended", || served.open.load(Ordering::SeqCst) == 0).await;
        assert!(rest(held).await.starts_with("HTTP/1.1 200"), "what had been sent is there");
        assert!(rest(served.asks("/").await).await.ends_with("here"));
    }
}

#[tokio::test]
async fn the_silent_the_slow_and_those_who_never_finish_make_room_in_their_order() {
    for tcp in [false, true] {
        let served = served(tcp).await;
        let unfinished = "POST /reads HTTP/1.1\r\nhost: x\r\ncontent-length: 1000\r\n\r\nx";
        let first = [served.connect().await, served.says("GET / HT").await, served.says(unfinished).await];
        let mut later = Vec::new();
        for gone in first {
            assert!(rest(served.asks("/").await).await.ends_with("here"));
            assert_eq!(rest(gone).await, "", "the one that has been there for longest had to go");
            later.push(served.connect().await);
        }
    }
}

#[tokio::test]
async fn those_who_are_being_answered_keep_their_places() {
    for tcp in [false, true] {
        let served = served(tcp).await;
        let mut waiting = Vec::new();
        for _ in 0..SHORT.connections {
            waiting.push(served.asks("/waits").await);
        }
        until("all of them have asked", || served.open.load(Ordering::SeqCst) == SHORT.connections).await;
        assert_eq!(rest(served.asks("/").await).await, "", "there is no place");
        served.answer.add_permits(SHORT.connections);
        for one in waiting {
            assert!(rest(one).await.ends_with("at last"));
        }
    }
}

#[tokio::test]
async fn who_was_answered_and_asks_nothing_more_makes_room() {
    let served = served(false).await;
    let mut idle = Vec::new();
    for _ in 0..SHORT.connections {
        let mut one = served.says("GET / HTTP/1.1\r\nhost: x\r\n\r\n").await;
        let mut text = [0; 512];
        let read = timeout(DEADLINE, one.read(&mut text)).await.unwrap().unwrap();
        assert!(String::from_utf8_lossy(&text[..read]).starts_with("HTTP/1.1 200"));
        idle.push(one);
    }
    assert!(rest(served.asks("/").await).await.ends_with("here"));
    assert_eq!(rest(idle.remove(0)).await, "", "the first had to go");
}

/// hyper lets go of such an answer's body before it has written the first byte of it.
#[tokio::test]
async fn those_who_have_yet_to_take_what_they_were_answered_keep_their_places() {
    for tcp in [false, true] {
        let served = served_within(Bounds { write: DEADLINE, ..SHORT }, tcp).await;
        let mut reading = Vec::new();
        for _ in 0..SHORT.connections {
            let mut one = served.asks("/large").await;
            timeout(DEADLINE, one.read_exact(&mut [0])).await.unwrap().unwrap();
            reading.push(one);
        }
        assert_eq!(rest(served.asks("/").await).await, "", "there is no place");
        for one in reading {
            assert!(rest(one).await.len() > LARGE, "all of it came");
        }
        assert!(rest(served.asks("/").await).await.ends_with("here"));
    }
}

#[test]
fn whoever_does_not_take_an_answer_keeps_their_place_for_a_while_only() {
    let (begun, after) = (Instant::now(), Duration::from_secs(30));
    let at = |seconds| begun + Duration::from_secs(seconds);
    let guest = Guest::default();
    assert!(guest.asks());
    guest.is_answered(at(100));
    assert!(!guest.is_to_leave(at(129), after));
    // What they ask besides is answered, and does not begin it anew.
    assert!(guest.asks() && !guest.is_to_leave(at(200), after), "they are being answered");
    guest.is_answered(at(200));
    assert!(guest.is_to_leave(at(200), after) && !guest.asks());

    let guest = Guest::default();
    assert!(guest.asks());
    guest.is_answered(at(100));
    guest.has_taken();
    assert!(guest.asks());
    guest.is_answered(at(200));
    assert!(!guest.is_to_leave(at(229), after), "the next one begins anew");
    assert!(guest.is_to_leave(at(230), after));
}

#[test]
fn who_has_asked_is_not_told_to_leave_and_who_is_told_asks_nothing() {
    let guest = Guest::default();
    assert!(guest.asks() && !guest.is_to_leave(Instant::now(), Duration::ZERO));
    guest.is_answered(Instant::now());
    guest.has_taken();
    assert!(guest.is_to_leave(Instant::now(), DEADLINE) && !guest.asks());
}

//! The connections of the API: one loop that takes them in, whichever way they come, and the bounds that each has.
//!
//! Owns the bounds. Who a caller is and what they may is `access`'s to say. Keeps true: whoever is slow or silent, to ask or to
//! read what was answered, holds a place for a bounded time and nobody else's answer waits for them; of each way at most
//! [`Bounds::connections`] are held. Where all are taken, whoever has not asked anything yet makes room for who comes: only those
//! who are being answered keep their places, and those who take what they were answered, for as long as a write may wait.
//!
//! ```text
//! accept ─▶ a place, or closed ─▶ TLS within HANDSHAKE ─▶ head within HEAD ─▶ access ─▶ routes ─▶ taken within `write`
//! ```

use super::caller::{Connected, Peer, PeerProcess};
use super::guest::{Answered, Guest, Outgoing, Received};
use super::listen::{Accepted, Listener};
use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use quell_engine::clock::SystemClock;
use quell_model::Clock;
use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::net::unix::UCred;
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::timeout;
use tokio_io_timeout::TimeoutStream;
use tower_service::Service;

/// For the handshake of TLS.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// For the head of a request, the first and every further one of a connection.
const HEAD: Duration = Duration::from_secs(10);
/// For the rest of a request until its answer begins.
const ANSWER: Duration = Duration::from_secs(60);
/// The head of a request is not larger, in bytes.
const LARGEST_HEAD: usize = 16 << 10;
/// After a failed accept (no file descriptors left), so that it is not tried a million times a second.
const PAUSE: Duration = Duration::from_millis(100);

/// What a test has smaller.
#[derive(Clone, Copy, Debug)]
struct Bounds {
    /// Connections at once, of each way: far more than the programs of a team hold, and few megabytes when all are taken.
    connections: usize,
    /// So long what is written waits for a reader who takes nothing at all: longer than the stalls of a network that comes back.
    /// A byte that is taken begins it anew; a place is kept no longer for whoever has not taken all.
    write: Duration,
}

const USUAL: Bounds = Bounds { connections: 256, write: Duration::from_secs(30) };

/// Serves until `end` is ready, then finishes what was begun.
pub(crate) async fn serve(listener: Listener, router: Router, end: watch::Receiver<bool>) {
    within(USUAL, listener, router, end).await;
}

async fn within(bounds: Bounds, listener: Listener, router: Router, mut end: watch::Receiver<bool>) {
    let mut house = House { bounds, guests: VecDeque::new(), tasks: JoinSet::new() };
    loop {
        let accepted = tokio::select! {
            // Places are given back before anybody is asked to leave one.
            biased;
            Some(left) = house.tasks.join_next_with_id() => {
                house.left(left.map(|(id, ())| id));
                continue;
            }
            () = over(&mut end) => break,
            accepted = listener.accept() => accepted,
        };
        let accepted = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "a connection cannot be taken");
                tokio::time::sleep(PAUSE).await;
                continue;
            }
        };
        // Whoever finds no place is closed at once: to wait would hold a descriptor for them as well.
        if !house.has_room().await {
            tracing::debug!(from = %accepted.from(), "all {} places are taken", bounds.connections);
            continue;
        }
        let guest = Arc::new(Guest::default());
        let (of, router, end) = (Arc::clone(&guest), router.clone(), end.clone());
        let task = house.tasks.spawn(connection(accepted, bounds.write, of, router, end));
        house.guests.push_back((task, guest));
    }
    drop(listener);
    while house.tasks.join_next().await.is_some() {}
}

/// Who is connected, in the order in which they came.
struct House {
    bounds: Bounds,
    guests: VecDeque<(AbortHandle, Arc<Guest>)>,
    tasks: JoinSet<()>,
}

impl House {
    fn left(&mut self, left: Result<tokio::task::Id, tokio::task::JoinError>) {
        let id = left.unwrap_or_else(|error| error.id());
        self.guests.retain(|(task, _)| task.id() != id);
    }

    /// Whether one more may come, once somebody who has not asked has gone where there is need.
    async fn has_room(&mut self) -> bool {
        if self.guests.len() < self.bounds.connections {
            return true;
        }
        let (now, after) = (Instant::now(), self.bounds.write);
        let Some((task, _)) = self.guests.iter().find(|(_, guest)| guest.is_to_leave(now, after)) else { return false };
        task.abort();
        // Its descriptor is closed before another is taken. An aborted task ends at its next turn.
        while self.guests.len() >= self.bounds.connections
            && let Some(left) = self.tasks.join_next_with_id().await
        {
            self.left(left.map(|(id, ())| id));
        }
        true
    }
}

/// Waits for the daemon's end, whether it is told or its teller is gone.
async fn over(end: &mut watch::Receiver<bool>) {
    drop(end.wait_for(|end| *end).await);
}

async fn connection(
    accepted: Accepted,
    write: Duration,
    guest: Arc<Guest>,
    router: Router,
    end: watch::Receiver<bool>,
) {
    let from = accepted.from();
    let ended = match accepted {
        Accepted::Socket(stream) => {
            let told = stream.peer_cred().ok();
            let peer = Peer::Uid(told.map(|told| told.uid()));
            exchange(patient(stream, write), (peer, connected(told)), guest, router, end).await
        }
        Accepted::Tcp(stream, address, tls) => {
            let peer = network(&stream, address);
            let stream = patient(stream, write);
            match tls {
                None => exchange(stream, peer, guest, router, end).await,
                // Below TLS: what it holds back itself is little.
                Some(tls) => match timeout(HANDSHAKE, tls.accept(stream)).await {
                    Ok(Ok(stream)) => exchange(stream, peer, guest, router, end).await,
                    Ok(Err(error)) => return tracing::debug!(%from, %error, "no TLS came about"),
                    Err(_) => return tracing::debug!(%from, "no TLS came about in time"),
                },
            }
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%from, %error, "a connection broke off");
    }
}

/// Whoever comes by TCP.
fn network(stream: &TcpStream, from: SocketAddr) -> (Peer, PeerProcess) {
    let at = SystemClock.now();
    (Peer::Network, stream.local_addr().map_or(PeerProcess::Unknown, |to| PeerProcess::Tcp { from, to, at }))
}

/// Which process has come by the socket, and when.
fn connected(told: Option<UCred>) -> PeerProcess {
    let process = told.and_then(|told| Some((u32::try_from(told.pid()?).ok()?, told.uid())));
    let at = SystemClock.now();
    process.map_or(PeerProcess::Unknown, |(pid, uid)| PeerProcess::Connected(Connected { pid, uid, at }))
}

/// Fails a write of which its reader takes nothing for so long: hyper waits without an end.
fn patient<S: AsyncRead + AsyncWrite>(stream: S, write: Duration) -> std::pin::Pin<Box<TimeoutStream<S>>> {
    let mut stream = TimeoutStream::new(stream);
    stream.set_write_timeout(Some(write));
    Box::pin(stream)
}

async fn exchange(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send,
    (peer, from): (Peer, PeerProcess),
    guest: Arc<Guest>,
    router: Router,
    mut end: watch::Receiver<bool>,
) -> Result<(), hyper::Error> {
    let stream = Outgoing::of(stream, Arc::clone(&guest));
    let service = hyper::service::service_fn(move |request: Request<Incoming>| {
        let (mut router, guest) = (router.clone(), Arc::clone(&guest));
        async move {
            let (head, body) = request.into_parts();
            let mut request = Request::from_parts(head, Body::new(Received::of(body, &guest)?));
            request.extensions_mut().insert(ConnectInfo(peer));
            request.extensions_mut().insert(from);
            match timeout(ANSWER, router.call(request)).await {
                Ok(Ok(answer)) => Ok(answer.map(|body| Answered::of(body, guest))),
                Ok(Err(never)) => match never {},
                Err(_) => Err(io::Error::new(io::ErrorKind::TimedOut, "the request did not come in time")),
            }
        }
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD)
        .max_buf_size(LARGEST_HEAD)
        .serve_connection(TokioIo::new(stream), service);
    tokio::pin!(served);
    tokio::select! {
        ended = served.as_mut() => ended,
        () = over(&mut end) => {
            served.as_mut().graceful_shutdown();
            served.await
        }
    }
}

#[cfg(test)]
mod tests;

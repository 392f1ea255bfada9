//! Whether whoever is connected has asked, and is being answered.
//!
//! Owns that one word. Keeps true: who is told to leave had not asked, or has not taken what they were answered for a while, and
//! what they ask then is not begun. A request whose body nobody reads to its end may begin at that very moment: it is done, and its
//! answer is lost with the connection. An answer that is written counts until the kernel has taken its last byte, for a bounded
//! time, however many follow it.
//!
//! ```text
//! silent ── the request is all there, or its body is not wanted ──▶ asked ── the answer is whole ──▶ owed
//!    │ ▲                                                             ▲                               │ │
//!    │ │                                                             └────────── asks again ─────────┘ │
//!    │ └──────────────────────────── the last byte is taken ───────────────────────────────────────────┤
//!    └── told to leave ──▶ leaving ◀── told to leave, after a while ───────────────────────────────────┘
//! ```

use axum::body::{Body, Bytes};
use hyper::body::{Body as _, Frame, Incoming, SizeHint};
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Guest(Mutex<Word>);

#[derive(Clone, Copy, Debug, Default)]
enum Word {
    #[default]
    Silent,
    /// And since when bytes of former answers have waited to be taken.
    Asked {
        owed: Option<Instant>,
    },
    /// Answered, and since when bytes have waited to be taken.
    Owed(Instant),
    Leaving,
}

impl Guest {
    /// Tells them to leave, if they have not asked, or have not taken all of their answer for so long.
    pub(super) fn is_to_leave(&self, now: Instant, after: Duration) -> bool {
        let mut word = self.word();
        let may_stay = match *word {
            Word::Silent => false,
            Word::Owed(since) => now.saturating_duration_since(since) < after,
            Word::Asked { .. } | Word::Leaving => true,
        };
        if !may_stay {
            *word = Word::Leaving;
        }
        !may_stay
    }

    /// Whether what they ask may be done.
    pub(super) fn asks(&self) -> bool {
        let mut word = self.word();
        match *word {
            Word::Silent => *word = Word::Asked { owed: None },
            Word::Owed(since) => *word = Word::Asked { owed: Some(since) },
            Word::Asked { .. } => {}
            Word::Leaving => return false,
        }
        true
    }

    /// The answer is whole: what is left of it is to be taken.
    pub(super) fn is_answered(&self, now: Instant) {
        let mut word = self.word();
        if let Word::Asked { owed } = *word {
            *word = Word::Owed(owed.unwrap_or(now));
        }
    }

    /// All that was written is taken.
    pub(super) fn has_taken(&self) {
        let mut word = self.word();
        match *word {
            Word::Owed(_) => *word = Word::Silent,
            Word::Asked { .. } => *word = Word::Asked { owed: None },
            Word::Silent | Word::Leaving => {}
        }
    }

    fn word(&self) -> MutexGuard<'_, Word> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn gone() -> io::Error {
    io::Error::other("the place was given to somebody who asked sooner")
}

/// The body of a request, on its way in.
pub(super) struct Received {
    body: Incoming,
    guest: Arc<Guest>,
}

impl Received {
    /// With a request that has none they have asked.
    pub(super) fn of(body: Incoming, guest: &Arc<Guest>) -> io::Result<Self> {
        if body.is_end_stream() && !guest.asks() {
            return Err(gone());
        }
        Ok(Self { body, guest: Arc::clone(guest) })
    }
}

impl hyper::body::Body for Received {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let frame = Pin::new(&mut self.body).poll_frame(cx);
        if matches!(frame, Poll::Ready(None)) && !self.guest.asks() {
            return Poll::Ready(Some(Err(axum::Error::new(gone()))));
        }
        frame.map_err(axum::Error::new)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Received {
    /// Nobody reads on: whoever has the request begins.
    fn drop(&mut self) {
        self.guest.asks();
    }
}

/// The body of an answer, on its way out.
pub(super) struct Answered {
    body: Body,
    guest: Arc<Guest>,
}

impl Answered {
    pub(super) fn of(body: Body, guest: Arc<Guest>) -> Self {
        Self { body, guest }
    }
}

impl hyper::body::Body for Answered {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Answered {
    fn drop(&mut self) {
        self.guest.is_answered(Instant::now());
    }
}

/// The stream of a connection, which knows when all that was written is taken: hyper lets go of an answer's body as soon as it
/// has it in a buffer, and flushes what is below once that is empty.
pub(super) struct Outgoing<S> {
    stream: S,
    guest: Arc<Guest>,
}

impl<S> Outgoing<S> {
    pub(super) fn of(stream: S, guest: Arc<Guest>) -> Self {
        Self { stream, guest }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Outgoing<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Outgoing<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(cx);
        if matches!(flushed, Poll::Ready(Ok(()))) {
            self.guest.has_taken();
        }
        flushed
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

//! Whether whoever is connected has asked, and is being answered.
//!
//! Owns that one word. Keeps true: who is told to leave had not asked, and what they ask then is not begun. A request whose body
//! nobody reads to its end may begin at that very moment: it is done, and its answer is lost with the connection.
//!
//! ```text
//! silent ── the request is all there, or its body is not wanted ──▶ asked ── the answer is written ──▶ silent
//!    └───── told to leave ──▶ leaving
//! ```

use axum::body::{Body, Bytes};
use hyper::body::{Body as _, Frame, Incoming, SizeHint};
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Context, Poll};

const SILENT: u8 = 0;
const ASKED: u8 = 1;
const LEAVING: u8 = 2;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Guest(AtomicU8);

impl Guest {
    /// Tells them to leave, if they have not asked.
    pub(super) fn is_to_leave(&self) -> bool {
        self.turn(SILENT, LEAVING)
    }

    /// Whether what they ask may be done.
    pub(super) fn asks(&self) -> bool {
        self.turn(SILENT, ASKED) || self.0.load(Ordering::SeqCst) == ASKED
    }

    pub(super) fn is_answered(&self) {
        self.turn(ASKED, SILENT);
    }

    fn turn(&self, from: u8, to: u8) -> bool {
        self.0.compare_exchange(from, to, Ordering::SeqCst, Ordering::SeqCst).is_ok()
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
        self.guest.is_answered();
    }
}

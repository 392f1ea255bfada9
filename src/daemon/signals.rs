//! What the daemon is told by signals: to end, or to read its files again.
//!
//! Owns the streams. Invariant: they are open before anything is read or opened, so that no signal ends a daemon that is starting;
//! what comes meanwhile is heard once it stands.

use std::io;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// What a signal says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Told {
    /// SIGTERM, or Ctrl-C.
    End,
    /// SIGHUP.
    Reload,
}

/// See the module.
pub(super) struct Signals {
    term: Signal,
    int: Signal,
    hup: Signal,
}

impl Signals {
    /// From now on they are heard. Must be called on the runtime.
    pub(super) fn open() -> io::Result<Self> {
        Ok(Self {
            term: signal(SignalKind::terminate())?,
            int: signal(SignalKind::interrupt())?,
            hup: signal(SignalKind::hangup())?,
        })
    }

    /// The next of them. Cancel-safe.
    pub(super) async fn next(&mut self) -> Told {
        tokio::select! {
            biased;
            _ = self.term.recv() => Told::End,
            _ = self.int.recv() => Told::End,
            _ = self.hup.recv() => Told::Reload,
        }
    }
}

//! How the reader sleeps: a millisecond at a time while events flow, long when they do not.
//!
//! Owns the epoll instance over both rings and the waker, and the word that tells the kernel side whether a wakeup is
//! needed. Reads no ring. An epoll instance stays in the rings' queues, so that a sleep costs one call; what comes without
//! a wakeup is seen when the time is over, so that events that flow are taken a millisecond's worth at a time.

use crate::load::Loaded;
use rustix::event::Timespec;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

/// Empty looks of 1 ms after which the reader goes to sleep.
const IDLE_ROUNDS: u32 = 50;
/// Looks of 1 ms after the kernel side was told to wake: it may have read the old word just before.
const SETTLE_ROUNDS: u32 = 4;
const RING: u64 = 0;
const WAKER: u64 = 1;

pub(crate) struct Sleep {
    epoll: OwnedFd,
    wake: Arc<OwnedFd>,
    idle: u32,
    /// What the kernel side was told last.
    polls: bool,
}

impl Sleep {
    /// # Errors
    /// No descriptor is left.
    pub(crate) fn new(loaded: &Loaded, wake: Arc<OwnedFd>) -> io::Result<Self> {
        let epoll = epoll::create(CreateFlags::CLOEXEC)?;
        for ring in [loaded.process_ring.as_fd(), loaded.other_ring.as_fd()] {
            epoll::add(&epoll, ring, EventData::new_u64(RING), EventFlags::IN)?;
        }
        epoll::add(&epoll, &*wake, EventData::new_u64(WAKER), EventFlags::IN)?;
        Ok(Self { epoll, wake, idle: 0, polls: false })
    }

    /// Sleeps until something is there or it is time to look: at most 1 ms while events flow, at most `long_ms` when not.
    /// True when somebody used the waker.
    pub(crate) fn sleep(&mut self, loaded: &mut Loaded, some: bool, long_ms: u32) -> bool {
        self.idle = if some { 0 } else { self.idle.saturating_add(1) };
        let polls = self.idle < IDLE_ROUNDS;
        if polls != self.polls {
            self.polls = polls;
            loaded.reader_polls(polls);
        }
        let ms = if self.idle < IDLE_ROUNDS + SETTLE_ROUNDS { 1 } else { i64::from(long_ms) };
        let timeout = Timespec { tv_sec: ms / 1_000, tv_nsec: ms % 1_000 * 1_000_000 };
        let nothing = Event { flags: EventFlags::empty(), data: EventData::new_u64(RING) };
        let mut events = [nothing; 4];
        // An interrupted sleep is a short one.
        let Ok(count) = epoll::wait(&self.epoll, &mut events[..], Some(&timeout)) else { return false };
        let woken = events.iter().take(count).any(|event| event.data.u64() == WAKER);
        let mut count = [0; 8];
        // Nonblocking: nobody else reads it, and if it were empty there would be nothing to do.
        woken && rustix::io::read(&*self.wake, &mut count).is_ok()
    }
}

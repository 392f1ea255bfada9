//! What deliveries may fill of the memory, until the engine has taken them in.
//!
//! Owns the share of each webhook. Keeps true: whatever is brought, all that is under way at a webhook fills no more than its share, and
//! takes nothing of another's; what could never fit is told apart from what has no room now.

use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// All webhooks together: ten mebibytes of ordinary audit events fill some hundred and twenty.
const ALL: usize = 192 << 20;
/// And each of many no less than that: a long body, its copies while it is read, and a few thousand events.
const LEAST: usize = 48 << 20;
/// It is counted in these.
const GRAIN: usize = 1 << 10;

/// Of one webhook.
pub(crate) struct Room {
    free: Arc<Semaphore>,
    share: usize,
}

/// Why something is not let in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Full {
    /// Others are under way.
    Now,
    /// It is more than the share: so many mebibytes.
    Always(usize),
}

impl Room {
    /// Of one of so many.
    pub(crate) fn one_of(webhooks: usize) -> Self {
        Self::of((ALL / webhooks.max(1)).max(LEAST))
    }

    /// Of so many bytes.
    pub(super) fn of(share: usize) -> Self {
        Self { free: Arc::new(Semaphore::new(share / GRAIN)), share }
    }

    #[cfg(test)]
    pub(super) fn free(&self) -> usize {
        self.free.available_permits() * GRAIN
    }

    /// Room for so many bytes.
    pub(super) fn take(&self, bytes: usize) -> Result<OwnedSemaphorePermit, Full> {
        if bytes > self.share {
            return Err(Full::Always(self.share >> 20));
        }
        let grains = u32::try_from(bytes / GRAIN).map_err(|_| Full::Now)?;
        Arc::clone(&self.free).try_acquire_many_owned(grains).map_err(|_| Full::Now)
    }

    /// Makes what is held so many bytes.
    pub(super) fn resize(&self, held: &mut OwnedSemaphorePermit, bytes: usize) -> Result<(), Full> {
        let has = held.num_permits();
        match (bytes / GRAIN).checked_sub(has) {
            Some(0) => {}
            Some(more) if bytes <= self.share => held.merge(self.take(more * GRAIN)?),
            Some(_) => return Err(Full::Always(self.share >> 20)),
            None => drop(held.split(has - bytes / GRAIN)),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_held_is_never_more_than_the_share_and_comes_back() {
        let room = Room::of(1 << 20);
        assert_eq!(room.take((1 << 20) + 1).map(|_| ()), Err(Full::Always(1)));
        let mut held = room.take(1 << 19).unwrap();
        assert_eq!(room.take((1 << 19) + GRAIN).map(|_| ()), Err(Full::Now));
        let other = room.take(1 << 18).unwrap();
        assert_eq!(room.resize(&mut held, 1 << 20), Err(Full::Now));
        assert_eq!(room.resize(&mut held, (1 << 20) + GRAIN), Err(Full::Always(1)));
        assert_eq!(room.resize(&mut held, 3 << 18), Ok(()));
        assert_eq!(room.free(), 0);
        assert_eq!(room.resize(&mut held, 1 << 18), Ok(()));
        drop((held, other));
        assert_eq!(room.free(), 1 << 20);
        assert_eq!((Room::one_of(0).share, Room::one_of(1).share, Room::one_of(100).share), (ALL, ALL, LEAST));
    }
}

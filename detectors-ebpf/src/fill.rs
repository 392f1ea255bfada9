//! How full a ring is: where the kernel writes and where the reader reads, looked at beside both.
//!
//! Owns a read-only map of a ring's two positions. Never takes anything out of the ring, and costs neither the kernel's side
//! nor the reader anything.

#![allow(unsafe_code, reason = "the kernel keeps both positions in pages that are mapped")]

use memmap2::{MmapOptions, MmapRaw};
use std::io;
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicU64, Ordering};

/// A ring's positions. In the first page the reader's, in the second the kernel's, each at its beginning: `struct
/// bpf_ringbuf` of kernel/bpf/ringbuf.c (5.8-6.18), whose pages are mapped from there on.
#[derive(Debug)]
pub(crate) struct Fill {
    pages: MmapRaw,
    page: usize,
    size: u64,
}

impl Fill {
    /// Of a ring of so many bytes.
    pub(crate) fn of(ring: &impl AsRawFd, size: u64) -> io::Result<Self> {
        let page = rustix::param::page_size();
        let pages = MmapOptions::new().len(2 * page).map_raw_read_only(ring.as_raw_fd())?;
        Ok(Self { pages, page, size })
    }

    /// Bytes that wait, and bytes that the ring holds.
    pub(crate) fn now(&self) -> (u64, u64) {
        // The reader's first: what is written meanwhile makes it look fuller, never emptier than nothing.
        let (read, written) = (self.position(0), self.position(self.page));
        (written.saturating_sub(read).min(self.size), self.size)
    }

    fn position(&self, at: usize) -> u64 {
        // SAFETY: `at` is the beginning of one of the two mapped pages, so that it is aligned and within them; they stay mapped
        // as long as `self` lives. Kernel and reader write the word whole, as this reads it, and it is not written through here.
        unsafe { AtomicU64::from_ptr(self.pages.as_mut_ptr().add(at).cast()) }.load(Ordering::Acquire)
    }
}

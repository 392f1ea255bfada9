//! Arrays of the kernel's that are shared memory: read where the kernel writes, one load for each element and no call.
//!
//! Owns the mappings. Keeps true: the memory is only read, by volatile loads; what an element means, and whether it was
//! read half written, is its reader's to say.

#![allow(unsafe_code, reason = "the kernel's map is shared memory")]

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr::{NonNull, read_volatile};
use std::sync::atomic::{Ordering, fence};

/// What may lie in such an array: plain words without padding that matters, any bits of which are a value.
pub(super) trait Plain: Copy {}

impl Plain for u64 {}

/// One array, mapped.
#[derive(Debug)]
pub(super) struct Shared<T> {
    at: NonNull<T>,
    len: usize,
}

// SAFETY: the memory is only read, by volatile loads of plain values, and stays mapped as long as this lives.
unsafe impl<T: Plain> Send for Shared<T> {}
// SAFETY: as above.
unsafe impl<T: Plain> Sync for Shared<T> {}

impl<T: Plain> Shared<T> {
    /// Maps an array of `len` elements that was made with `BPF_F_MMAPABLE` (5.5) and whose elements lie as `T` does, a
    /// multiple of 8 bytes each; the mapping holds the map.
    pub(super) fn map(fd: BorrowedFd<'_>, len: usize) -> io::Result<Self> {
        const { assert!(size_of::<T>().is_multiple_of(8)) };
        let bytes = len * size_of::<T>();
        // SAFETY: a new mapping at an address that the kernel chooses; nothing of ours is there.
        let at =
            unsafe { libc::mmap(std::ptr::null_mut(), bytes, libc::PROT_READ, libc::MAP_SHARED, fd.as_raw_fd(), 0) };
        if at == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let at = NonNull::new(at.cast()).ok_or_else(|| io::Error::other("mapped at nowhere"))?;
        Ok(Self { at, len })
    }

    /// The element as it is now; later reads are not moved before it.
    pub(super) fn read(&self, index: usize) -> Option<T> {
        if index >= self.len {
            return None;
        }
        // SAFETY: `index` is below the mapped length, elements are `T` for whom any bits are a value, and the kernel
        // maps pages, which are aligned for it. The kernel may write meanwhile: the load is volatile.
        let value = unsafe { read_volatile(self.at.as_ptr().add(index)) };
        fence(Ordering::Acquire);
        Some(value)
    }
}

impl<T> Drop for Shared<T> {
    fn drop(&mut self) {
        // SAFETY: mapped by `map` with this length, and nobody else has the pointer. It can only fail for a wrong range.
        unsafe { libc::munmap(self.at.as_ptr().cast(), self.len * size_of::<T>()) };
    }
}

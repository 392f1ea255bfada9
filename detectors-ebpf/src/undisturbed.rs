//! Work that no signal interrupts: the thread takes none while it lasts.
//!
//! Keeps true: what came meanwhile is taken afterwards, or by another thread; the thread's mask is afterwards what it was, also after a panic.
#![allow(unsafe_code, reason = "a thread's mask of signals by libc")]

use std::mem::MaybeUninit;

struct Mask(libc::sigset_t);

impl Drop for Mask {
    fn drop(&mut self) {
        // SAFETY: a set that the kernel filled in.
        unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &raw const self.0, std::ptr::null_mut()) };
    }
}

/// Does it with every signal of this thread held back.
pub(crate) fn undisturbed<T>(work: impl FnOnce() -> T) -> T {
    let mut all = MaybeUninit::uninit();
    let mut former = MaybeUninit::uninit();
    // SAFETY: both sets live over the calls, sigfillset fills the first, and the second is read only where it was filled.
    let _mask = unsafe {
        libc::sigfillset(all.as_mut_ptr());
        (libc::pthread_sigmask(libc::SIG_SETMASK, all.as_ptr(), former.as_mut_ptr()) == 0)
            .then(|| Mask(former.assume_init()))
    };
    work()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waits(signal: i32) -> bool {
        let mut pending = MaybeUninit::uninit();
        // SAFETY: sigpending fills the set before it is read.
        unsafe { libc::sigpending(pending.as_mut_ptr()) == 0 && libc::sigismember(pending.as_ptr(), signal) == 1 }
    }

    /// Sends this thread a signal that does nothing, and says whether it waits.
    fn held() -> bool {
        // SAFETY: its default is to be ignored.
        unsafe { libc::raise(libc::SIGWINCH) };
        waits(libc::SIGWINCH)
    }

    #[test]
    fn a_signal_waits_for_the_end_of_the_work() {
        assert!(!held());
        assert!(undisturbed(held));
        assert!(!waits(libc::SIGWINCH), "taken afterwards");
        assert!(std::panic::catch_unwind(|| undisturbed(|| panic!("the work fails"))).is_err());
        assert!(!held(), "the mask is as it was");
    }
}

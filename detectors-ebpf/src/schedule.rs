//! The sensor thread's place in the queue: SCHED_FIFO where the kernel allows, else as everybody.
#![allow(unsafe_code, reason = "scheduling classes have no safe wrapper")]

use std::io;

/// Low among real-time priorities: above all ordinary work, below what an administrator has put first.
const PRIORITY: i32 = 10;

fn set(policy: i32, priority: i32) -> Result<(), String> {
    // SAFETY: an all-zero sched_param is valid: it holds integers only.
    let mut param: libc::sched_param = unsafe { std::mem::zeroed() };
    param.sched_priority = priority;
    // SAFETY: pid 0 is the calling thread; `param` lives through the call, which only reads it.
    let done = unsafe { libc::sched_setscheduler(0, policy, &raw const param) };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error().to_string()) }
}

/// Makes the calling thread SCHED_FIFO; what it forks is not.
pub(crate) fn be_first() -> Result<(), String> {
    set(libc::SCHED_FIFO | libc::SCHED_RESET_ON_FORK, PRIORITY)
}

/// Tries it on a thread of its own.
pub(crate) fn may_be_first() -> Result<(), String> {
    let tried = std::thread::Builder::new().name("quell-doctor".into()).spawn(be_first).map_err(|e| e.to_string())?;
    tried.join().unwrap_or_else(|_| Err("the trial thread died".to_owned()))
}

//! The sockets that somebody has open, whoever it is: where each was born, and in which cgroup the thread is that has it.
//!
//! Read from the kernel at once (bpf/cut/files.h), and not from /proc, which says neither, and shows the files of a thread apart from
//! those of its leader only to who asks for each. Keeps true: sockets of this host alone (unix, netlink) are not among them. What
//! lies in the queue of a unix socket, or with io_uring alone, nobody has open.

use crate::load::chain;
use aya::Ebpf;
use aya::programs::{Iter, ProgramError};
use aya::{Btf, EbpfError};
use std::fs::File;
use std::io::Read;

const PROGRAM: &str = "cut_files";
/// `struct opened`.
const LENGTH: usize = 40;

const INET: u16 = 2;
const INET6: u16 = 10;
const PACKET: u16 = 17;
const STREAM: u16 = 1;
const TCP: u16 = 6;
const UDP: u16 = 17;
/// include/net/tcp_states.h.
const CLOSE: u8 = 7;
/// `SHUTDOWN_MASK` (include/net/sock.h): neither way.
const BOTH: u8 = 3;

/// One socket that somebody has open; who has it twice is in the list twice.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Open {
    /// The cgroup of the thread that has it open.
    pub(super) holder: u64,
    /// The cgroup in which it was made.
    pub(super) born: u64,
    pub(super) inode: u64,
    /// Whose thread that is.
    pub(super) tgid: u32,
    family: u16,
    kind: u16,
    protocol: u16,
    state: u8,
    shutdown: u8,
}

impl Open {
    /// Whether the hooks of a cgroup see what it sends and receives: packet sockets speak to the device (net/packet/af_packet.c), and
    /// other families have no such hooks.
    pub(super) fn is_hooked(&self) -> bool {
        self.family == INET || self.family == INET6
    }

    /// It may be connected yet, or wait for somebody.
    pub(super) fn may_connect(&self) -> bool {
        self.is_hooked() && self.kind == STREAM && self.state == CLOSE && self.shutdown != BOTH
    }

    /// It was connected, and somebody has ended it: it carries nothing.
    pub(super) fn is_ended(&self) -> bool {
        self.is_hooked() && self.protocol == TCP && self.state == CLOSE && self.shutdown == BOTH
    }

    /// For people.
    pub(super) fn told(&self) -> String {
        let what = match (self.is_hooked(), self.protocol) {
            (true, TCP) if self.state == CLOSE => "a tcp socket that is not connected".to_owned(),
            (true, TCP) => "a tcp socket".to_owned(),
            (true, UDP) => "a udp socket that is not bound".to_owned(),
            (true, protocol) => format!("a socket of IP protocol {protocol}"),
            (false, _) if self.family == PACKET => "a packet socket".to_owned(),
            (false, _) => format!("a socket of family {}", self.family),
        };
        format!("{what} of process {}", self.tgid)
    }

    fn parse(record: &[u8; LENGTH]) -> Self {
        let long = |at: usize| record[at..at + 8].try_into().map_or(0, u64::from_ne_bytes);
        let half = |at: usize| record[at..at + 2].try_into().map_or(0, u16::from_ne_bytes);
        Self {
            holder: long(0),
            born: long(8),
            inode: long(16),
            tgid: record[24..28].try_into().map_or(0, u32::from_ne_bytes),
            family: half(28),
            kind: half(30),
            protocol: half(32),
            state: record[34],
            shutdown: record[35],
        }
    }
}

/// Brings the program in.
pub(super) fn load(ebpf: &mut Ebpf, btf: &Btf) -> Result<(), ProgramError> {
    crate::load::again(|| program(ebpf)?.load("task_file", btf))
}

fn program(ebpf: &mut Ebpf) -> Result<&mut Iter, ProgramError> {
    ebpf.program_mut(PROGRAM).expect("the object was built with this program").try_into()
}

/// A file whose reading is the look.
pub(super) fn look(ebpf: &mut Ebpf) -> Result<File, String> {
    let failed = |e: EbpfError| format!("the open sockets cannot be looked at: {}", chain(&e));
    let program = program(ebpf).map_err(|e| failed(e.into()))?;
    let link = program.attach().and_then(|id| program.take_link(id)).map_err(|e| failed(e.into()))?;
    link.into_file().map_err(|e| format!("the open sockets cannot be looked at: {}", chain(&e)))
}

/// Reads it to its end.
pub(super) fn read(mut file: File) -> Result<Vec<Open>, String> {
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes).map_err(|e| format!("the open sockets cannot be read: {e}"))?;
    let (records, torn) = bytes.as_chunks::<LENGTH>();
    if !torn.is_empty() {
        return Err(format!("the open sockets were read to {} bytes behind the last of them", torn.len()));
    }
    Ok(records.iter().map(Open::parse).collect())
}

#[cfg(test)]
impl Open {
    /// As a test has it: TCP, not connected.
    pub(super) fn idle(holder: u64, born: u64, inode: u64, tgid: u32) -> Self {
        let (family, kind, protocol) = (INET, STREAM, TCP);
        Self { holder, born, inode, tgid, family, kind, protocol, state: CLOSE, shutdown: 0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_read_as_the_kernel_writes_them() {
        let mut record = [0; LENGTH];
        record[..8].copy_from_slice(&7_u64.to_ne_bytes());
        record[8..16].copy_from_slice(&1_u64.to_ne_bytes());
        record[16..24].copy_from_slice(&4711_u64.to_ne_bytes());
        record[24..28].copy_from_slice(&99_u32.to_ne_bytes());
        for (at, half) in [(28, INET), (30, STREAM), (32, TCP)] {
            record[at..at + 2].copy_from_slice(&half.to_ne_bytes());
        }
        record[34] = CLOSE;
        let one = Open::parse(&record);
        assert_eq!(one, Open::idle(7, 1, 4711, 99));
        assert!(one.may_connect() && !one.is_ended());
        assert_eq!(one.told(), "a tcp socket that is not connected of process 99");
        record[35] = BOTH;
        let ended = Open::parse(&record);
        assert!(!ended.may_connect() && ended.is_ended());
        record[28..30].copy_from_slice(&PACKET.to_ne_bytes());
        let packet = Open::parse(&record);
        assert!(!packet.is_hooked() && !packet.is_ended());
        assert_eq!(packet.told(), "a packet socket of process 99");
    }
}

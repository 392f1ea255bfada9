//! The kernel side's records, read in place: the mirror of `bpf/record.h`.
//!
//! Owns offsets and nothing else; a view borrows the ring's bytes, copies no text and never trusts a length: whatever
//! does not fit reads as empty. A record too short for its kind is no record.

mod exec;
mod file;
mod stdio;

pub(crate) use exec::Exec;
pub(crate) use file::{File, FileOp};
pub(crate) use stdio::{Stdio, StdioKind, address};

/// Bytes before the kind's own part.
pub(crate) const HEAD_LEN: usize = 96;
const NET_LEN: usize = HEAD_LEN + 48;

pub(crate) const KIND_FORK: u8 = 1;
pub(crate) const KIND_EXEC: u8 = 2;
pub(crate) const KIND_EXIT: u8 = 3;
pub(crate) const KIND_CRED: u8 = 4;
pub(crate) const KIND_NET: u8 = 5;
pub(crate) const KIND_FILE: u8 = 6;
pub(crate) const KIND_ACCESS: u8 = 7;

pub(crate) const IMAGE_MEMFD: u16 = 1;
pub(crate) const IMAGE_DELETED: u16 = 2;
pub(crate) const IMAGE_TMPFS: u16 = 4;
pub(crate) const IMAGE_PATH_CUT: u16 = 8;
pub(crate) const IMAGE_ARGS_CUT: u16 = 16;
pub(crate) const IMAGE_NO_NEW_PRIVS: u16 = 32;
pub(crate) const IMAGE_UPPER: u16 = 64;
pub(crate) const IMAGE_CWD_CUT: u16 = 128;

pub(crate) const FILE_PATH_CUT: u16 = 1;
pub(crate) const FILE_NAME_CUT: u16 = 4;

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    bytes.get(at..at + 2).and_then(|b| b.try_into().ok()).map_or(0, u16::from_ne_bytes)
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..at + 4).and_then(|b| b.try_into().ok()).map_or(0, u32::from_ne_bytes)
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    bytes.get(at..at + 8).and_then(|b| b.try_into().ok()).map_or(0, u64::from_ne_bytes)
}

/// Bytes up to the first NUL.
fn text_at(bytes: &[u8], at: usize, len: usize) -> &[u8] {
    let whole = bytes.get(at..at + len).unwrap_or_default();
    let end = whole.iter().position(|b| *b == 0).unwrap_or(whole.len());
    &whole[..end]
}

/// Who: what every record begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(crate) struct Head {
    pub(crate) kind: u8,
    /// What within the kind: an operation, a direction.
    pub(crate) sub: u16,
    pub(crate) at: u64,
    pub(crate) pid: u32,
    pub(crate) tid: u32,
    pub(crate) start: u64,
    pub(crate) exec_id: u64,
    pub(crate) parent_start: u64,
    pub(crate) ppid: u32,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) euid: u32,
    pub(crate) egid: u32,
    pub(crate) mnt_ns: u32,
    pub(crate) cgroup: u64,
    pub(crate) comm: [u8; 16],
}

/// One record.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Record<'a> {
    Fork(Head),
    Exec(Head, Exec<'a>),
    Exit(Head, i32),
    Cred(Head, Cred),
    Net(Head, Net),
    File(Head, File<'a>),
    /// The target is a pid in the pid namespace of who reached.
    Access(Head, u32),
}

impl<'a> Record<'a> {
    /// Reads one record, or says that the bytes are none.
    #[must_use]
    pub(crate) fn read(bytes: &'a [u8]) -> Option<Self> {
        let head = Head::read(bytes)?;
        let long = |len: usize| (bytes.len() >= len).then_some(());
        Some(match head.kind {
            KIND_FORK => Self::Fork(head),
            KIND_EXEC => long(exec::DATA).map(|()| Self::Exec(head, Exec { bytes }))?,
            KIND_EXIT => long(HEAD_LEN + 4).map(|()| Self::Exit(head, u32_at(bytes, HEAD_LEN).cast_signed()))?,
            KIND_CRED => long(HEAD_LEN + 24).map(|()| Self::Cred(head, Cred::read(bytes)))?,
            KIND_NET => long(NET_LEN).map(|()| Self::Net(head, Net::read(bytes)))?,
            KIND_FILE => long(file::DATA).map(|()| Self::File(head, File { bytes }))?,
            KIND_ACCESS => long(HEAD_LEN + 4).map(|()| Self::Access(head, u32_at(bytes, HEAD_LEN)))?,
            _ => return None,
        })
    }

    /// Who.
    #[must_use]
    pub(crate) fn head(&self) -> &Head {
        match self {
            Self::Fork(h)
            | Self::Exec(h, _)
            | Self::Exit(h, _)
            | Self::Cred(h, _)
            | Self::Net(h, _)
            | Self::File(h, _)
            | Self::Access(h, _) => h,
        }
    }
}

impl Head {
    fn read(bytes: &[u8]) -> Option<Self> {
        if bytes.len() < HEAD_LEN {
            return None;
        }
        Some(Self {
            kind: bytes[0],
            sub: u16_at(bytes, 2),
            at: u64_at(bytes, 8),
            pid: u32_at(bytes, 16),
            tid: u32_at(bytes, 20),
            start: u64_at(bytes, 24),
            exec_id: u64_at(bytes, 32),
            parent_start: u64_at(bytes, 40),
            ppid: u32_at(bytes, 48),
            uid: u32_at(bytes, 52),
            gid: u32_at(bytes, 56),
            euid: u32_at(bytes, 60),
            egid: u32_at(bytes, 64),
            mnt_ns: u32_at(bytes, 68),
            cgroup: u64_at(bytes, 72),
            comm: bytes[80..96].try_into().ok()?,
        })
    }
}

/// New credentials; the ids are in the head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cred {
    pub(crate) cap_effective: u64,
    pub(crate) cap_permitted: u64,
    pub(crate) suid: u32,
    pub(crate) fsuid: u32,
}

impl Cred {
    fn read(bytes: &[u8]) -> Self {
        Self {
            cap_effective: u64_at(bytes, 96),
            cap_permitted: u64_at(bytes, 104),
            suid: u32_at(bytes, 112),
            fsuid: u32_at(bytes, 116),
        }
    }
}

/// A connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Net {
    pub(crate) family: u8,
    pub(crate) protocol: u8,
    pub(crate) direction: u8,
    pub(crate) local_port: u16,
    pub(crate) peer_port: u16,
    pub(crate) local: [u8; 16],
    pub(crate) peer: [u8; 16],
}

impl Net {
    fn read(bytes: &[u8]) -> Self {
        let b = &bytes[HEAD_LEN..NET_LEN];
        Self {
            family: b[0],
            protocol: b[1],
            direction: b[2],
            local_port: u16_at(b, 4),
            peer_port: u16_at(b, 6),
            local: b[8..24].try_into().unwrap_or_default(),
            peer: b[24..40].try_into().unwrap_or_default(),
        }
    }
}

/// Stands where a path lacks its beginning or its end.
pub(crate) const CUT: &str = "...";

/// A path from its components, leaf first, each with a NUL.
#[must_use]
pub(crate) fn path_of(parts: &[u8]) -> String {
    let parts = parts.strip_suffix(&[0]).unwrap_or(parts);
    if parts.is_empty() {
        return "/".to_owned();
    }
    let mut out = String::with_capacity(parts.len() + 1);
    for part in parts.rsplit(|b| *b == 0) {
        out.push('/');
        out.push_str(&String::from_utf8_lossy(part));
    }
    out
}

#[cfg(test)]
pub(crate) mod tests;

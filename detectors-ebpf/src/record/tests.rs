//! Decoding from bytes as the kernel side writes them, and from bytes that it never would.

use super::*;
use proptest::prelude::*;
use std::net::IpAddr;

/// Bytes with values at offsets of bpf/record.h.
#[derive(Clone)]
pub(crate) struct Bytes(pub(crate) Vec<u8>);

impl Bytes {
    pub(crate) fn new(kind: u8, len: usize) -> Self {
        let mut bytes = Self(vec![0; len]);
        bytes.0[0] = kind;
        bytes
    }

    pub(crate) fn put(mut self, at: usize, value: &[u8]) -> Self {
        self.0[at..at + value.len()].copy_from_slice(value);
        self
    }

    pub(crate) fn head(self, pid: u32, start: u64, ppid: u32, parent_start: u64) -> Self {
        self.put(16, &pid.to_ne_bytes())
            .put(20, &pid.to_ne_bytes())
            .put(24, &start.to_ne_bytes())
            .put(40, &parent_start.to_ne_bytes())
            .put(48, &ppid.to_ne_bytes())
    }

    pub(crate) fn text(mut self, text: &[u8]) -> Self {
        self.0.extend(text);
        self
    }
}

/// An exec of `/usr/bin/env` in `/tmp/x`, asked for as `./s`.
pub(crate) fn exec_bytes(pid: u32, start: u64, ppid: u32, parent_start: u64) -> Bytes {
    let (file, image, cwd, args) = (b"./s\0", b"env\0bin\0usr\0", b"x\0tmp\0", b"env\0python3\0./s\0");
    let len = |part: &[u8]| u16::try_from(part.len()).unwrap().to_ne_bytes();
    Bytes::new(KIND_EXEC, 536)
        .head(pid, start, ppid, parent_start)
        .put(32, &3_u64.to_ne_bytes())
        .put(96, &(1_u64 << 21).to_ne_bytes())
        .put(112, &4711_u64.to_ne_bytes())
        .put(120, &((254_u32 << 20) | 1).to_ne_bytes())
        .put(158, &(IMAGE_TMPFS | IMAGE_NO_NEW_PRIVS).to_ne_bytes())
        .put(160, &[2])
        .put(164, &len(file))
        .put(166, &len(image))
        .put(168, &len(cwd))
        .put(170, &len(args))
        .put(176, b"pts3\0junk")
        .text(file)
        .text(image)
        .text(cwd)
        .text(args)
}

#[test]
fn an_exec_is_read() {
    // fd 0: a TCP socket 10.0.0.5:40000 → 10.0.0.9:443; fd 1 of the parent: /dev/pts/7.
    let socket = [&[4, 2, 6, 1][..], &40000_u16.to_ne_bytes(), &443_u16.to_ne_bytes()].concat();
    let bytes = exec_bytes(42, 5_000_000_123, 7, 1_000)
        .put(192, &socket)
        .put(192 + 24, &[10, 0, 0, 5])
        .put(192 + 40, &[10, 0, 0, 9])
        .put(192 + 4 * 56, &[3])
        .put(192 + 4 * 56 + 8, &((136_u32 << 20) | 7).to_ne_bytes());
    let Some(Record::Exec(head, exec)) = Record::read(&bytes.0) else { panic!("no exec") };
    assert_eq!((head.pid, head.start, head.ppid, head.exec_id), (42, 5_000_000_123, 7, 3));
    assert_eq!((exec.image(), exec.cwd()), ("/usr/bin/env".to_owned(), "/tmp/x".to_owned()));
    assert_eq!((exec.file(), exec.args(), exec.tty()), (&b"./s"[..], &b"env\0python3\0./s\0"[..], &b"pts3"[..]));
    assert_eq!((exec.inode(), exec.device() >> 20, exec.seccomp()), (4711, 254, 2));
    assert_eq!(exec.own(0).peer(), Some("10.0.0.9:443".parse().unwrap()));
    assert_eq!((exec.own(0).word(), exec.own(1).word(), exec.parent(1).word()), ("socket", "none", "pty"));
    assert_eq!(exec.parent(1).pts(), Some(7));
}

#[test]
fn a_memory_file_has_one_component_and_the_root_none() {
    assert_eq!(path_of(b"memfd:x y\0"), "/memfd:x y");
    assert_eq!(path_of(b""), "/");
    assert_eq!(path_of(b"\xff\0tmp\0"), "/tmp/\u{fffd}");
}

fn file_bytes(op: FileOp, base: &[u8], name: &[u8], base2: &[u8], name2: &[u8]) -> Vec<u8> {
    let len = |part: &[u8]| u16::try_from(part.len()).unwrap().to_ne_bytes();
    Bytes::new(KIND_FILE, 144)
        .put(2, &(op as u16).to_ne_bytes())
        .put(126, &len(base))
        .put(128, &len(name))
        .put(130, &len(base2))
        .put(132, &len(name2))
        .text(base)
        .text(name)
        .text(base2)
        .text(name2)
        .0
}

fn paths(bytes: &[u8]) -> (String, Option<String>) {
    let Some(Record::File(_, file)) = Record::read(bytes) else { panic!("no file") };
    (file.path(), file.second())
}

#[test]
fn names_stand_under_their_bases() {
    let open = file_bytes(FileOp::Write, b"shadow\0etc\0", b"", b"", b"");
    assert_eq!(paths(&open), ("/etc/shadow".into(), None));
    let relative = file_bytes(FileOp::Unlink, b"b\0a\0", b".././c//d\0", b"", b"");
    assert_eq!(paths(&relative), ("/a/c/d".into(), None));
    let rename = file_bytes(FileOp::Rename, b"tmp\0", b"x\0", b"", b"/etc/cron.d/y\0");
    assert_eq!(paths(&rename), ("/tmp/x".into(), Some("/etc/cron.d/y".into())));
    let above = file_bytes(FileOp::Unlink, b"", b"../../x\0", b"", b"");
    assert_eq!(paths(&above), ("/x".into(), None));
    let cut = Bytes(open).put(124, &(FILE_PATH_CUT | FILE_NAME_CUT).to_ne_bytes()).0;
    assert_eq!(paths(&cut).0, ".../etc/shadow...");
}

#[test]
fn addresses_of_both_families_are_read() {
    let mut raw = [0; 16];
    raw[..4].copy_from_slice(&[127, 0, 0, 1]);
    assert_eq!(address(2, &raw), IpAddr::from([127, 0, 0, 1]));
    let mapped = "::ffff:10.0.0.1".parse::<std::net::Ipv6Addr>().unwrap().octets();
    assert_eq!(address(10, &mapped), IpAddr::from([10, 0, 0, 1]));
}

#[test]
fn a_unix_socket_names_its_other_end() {
    let unix = Stdio { kind: StdioKind::Socket, family: 1, ..Stdio::default() };
    let mut peer = [0; 16];
    peer[..8].copy_from_slice(&99_u64.to_ne_bytes());
    assert_eq!(Stdio { peer, ..unix }.unix_peer(), Some(99));
    assert_eq!((unix.unix_peer(), unix.peer()), (None, None));
}

#[test]
fn what_is_too_short_is_no_record() {
    let whole = exec_bytes(1, 2, 3, 4).0;
    for len in 0..536 {
        assert!(Record::read(&whole[..len]).is_none(), "{len}");
    }
    assert!(Record::read(&Bytes::new(99, 200).0).is_none());
}

proptest! {
    /// Whatever the bytes, reading them ends well.
    #[test]
    fn any_bytes_are_read_or_refused(kind in 0_u8..9, mut bytes in proptest::collection::vec(any::<u8>(), 0..900)) {
        if let Some(first) = bytes.first_mut() {
            *first = kind;
        }
        match Record::read(&bytes) {
            Some(Record::Exec(_, exec)) => {
                drop((exec.image(), exec.cwd(), exec.args(), exec.file(), exec.tty()));
                for fd in 0..3 {
                    prop_assert!(!exec.own(fd).word().is_empty());
                    prop_assert!(exec.own(fd).peer().is_none() || exec.own(fd).unix_peer().is_none());
                }
            }
            Some(Record::File(_, file)) => {
                drop((file.path(), file.second(), file.second_name()));
            }
            _ => {}
        }
    }
}

//! Right and hostile files, changed: cut, doubled, spliced, and strewn with what means something to a parser.
//!
//! Pure: the same seed gives the same bytes.

use proptest::prelude::*;
use proptest::sample::{Index, select};

/// What means something to YAML, Rhai, Sigma, JSON or auditd.
const PIECES: &[&[u8]] = &[
    b"\0",
    b"\t",
    b"\r",
    b"\r\n",
    b"\n",
    b"\n\n  ",
    b"\xff",
    b"\xc3",
    b"\xe2\x80\xa8",
    b"\xef\xbb\xbf",
    b"\xf0\x9f\x98\x80",
    b"\xe2\x80\xae",
    b": ",
    b":",
    b"- ",
    b"? ",
    b"{",
    b"}",
    b"[",
    b"]",
    b"[[[[[[[[",
    b"{a: {a: {a: ",
    b"&a ",
    b"*a",
    b"<<: *a",
    b"!!str ",
    b"!x ",
    b"|\n",
    b">-\n",
    b"|9",
    b"---\n",
    b"...\n",
    b"%YAML 1.2\n",
    b" #",
    b"#",
    b"'",
    b"\"",
    b"\\",
    b"\\u0000",
    b"\\ud800",
    b"~",
    b"null",
    b"true",
    b".nan",
    b"-.inf",
    b"0x",
    b"1e999",
    b"-0",
    b"99999999999999999999",
    b"-9223372036854775808",
    b"4294967296",
    b"9999999999w",
    b"0s",
    b"${{ ",
    b" }}",
    b"${{ ${{ }} }}",
    b"`${",
    b"}`",
    b"#{",
    b"|x| ",
    b"(",
    b")",
    b"((((((((",
    b"?.",
    b"??",
    b"..",
    b"::",
    b"=>",
    b"==",
    b"event.process.id",
    b"steps.a.b",
    b"item",
    b"if ",
    b"loop {",
    b"fn f() { f() } f();",
    b"playbook: ",
    b"steps:\n",
    b"on: ",
    b"needs: [",
    b"for_each: ",
    b"retry: { attempts: ",
    b"with: { ",
    b"action: process.kill",
    b"cases:\n",
    b"expect: ",
    b"mocks: ",
    b"recording: /dev/zero",
    b"1 of ",
    b"all of them",
    b"not ",
    b" and ",
    b"*",
    b"*a*a*a*a*b",
    b"|contains|all: ",
    b"|re: '(a+)+$'",
    b"|cidr: ",
    b"|base64offset|contains: ",
    b"correlation: { ",
    b"timespan: ",
    b"type=EXECVE msg=audit(1.1:1): argc=9 a0=",
    b"msg=audit(",
    b"\x1d",
    b"{\"Records\":[",
    b"\"eventSource\":1",
    b"\"auditID\":{}",
    b"\x1f\x8b",
    b"(?P<",
    b"{1000}{1000}",
];

/// One change.
#[derive(Clone, Debug)]
enum Change {
    Put(Index, Vec<u8>),
    Replace(Index, usize, Vec<u8>),
    Cut(Index, usize),
    Double(Index, usize),
    Move(Index, Index, usize),
    Splice(Index, Index),
    End(Index),
    Repeat(Index, Vec<u8>, usize),
}

fn piece() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        8 => select(PIECES).prop_map(<[u8]>::to_vec),
        1 => prop::collection::vec(any::<u8>(), 1..6),
        1 => any::<char>().prop_map(|c| c.to_string().into_bytes()),
    ]
}

fn change() -> impl Strategy<Value = Change> {
    prop_oneof![
        4 => (any::<Index>(), piece()).prop_map(|(at, piece)| Change::Put(at, piece)),
        4 => (any::<Index>(), 0usize..12, piece()).prop_map(|(at, length, piece)| Change::Replace(at, length, piece)),
        2 => (any::<Index>(), 1usize..60).prop_map(|(at, length)| Change::Cut(at, length)),
        2 => (any::<Index>(), 1usize..200).prop_map(|(at, length)| Change::Double(at, length)),
        1 => (any::<Index>(), any::<Index>(), 1usize..80).prop_map(|(from, to, length)| Change::Move(from, to, length)),
        1 => (any::<Index>(), any::<Index>()).prop_map(|(seed, at)| Change::Splice(seed, at)),
        1 => any::<Index>().prop_map(Change::End),
        1 => (any::<Index>(), piece(), 2usize..400).prop_map(|(at, piece, count)| Change::Repeat(at, piece, count)),
    ]
}

/// Some of these files, changed.
pub(crate) fn bytes(seeds: Vec<Vec<u8>>) -> impl Strategy<Value = Vec<u8>> {
    let changes = prop::collection::vec(change(), 1..8);
    (any::<Index>(), changes).prop_map(move |(seed, changes)| {
        let mut bytes = seeds[seed.index(seeds.len())].clone();
        for change in changes {
            apply(&mut bytes, change, &seeds);
        }
        bytes
    })
}

fn apply(bytes: &mut Vec<u8>, change: Change, seeds: &[Vec<u8>]) {
    let place = |at: Index, bytes: &[u8]| at.index(bytes.len() + 1);
    let range = |at: Index, length: usize, bytes: &[u8]| {
        let start = place(at, bytes);
        start..(start + length).min(bytes.len())
    };
    match change {
        Change::Put(at, piece) => {
            let at = place(at, bytes);
            bytes.splice(at..at, piece);
        }
        Change::Replace(at, length, piece) => {
            let range = range(at, length, bytes);
            bytes.splice(range, piece);
        }
        Change::Cut(at, length) => {
            let range = range(at, length, bytes);
            bytes.drain(range);
        }
        Change::Double(at, length) => {
            let range = range(at, length, bytes);
            let part = bytes[range.clone()].to_vec();
            bytes.splice(range.start..range.start, part);
        }
        Change::Move(from, to, length) => {
            let range = range(from, length, bytes);
            let part: Vec<u8> = bytes.drain(range).collect();
            let to = place(to, bytes);
            bytes.splice(to..to, part);
        }
        Change::Splice(seed, at) => {
            let other = &seeds[seed.index(seeds.len())];
            let (here, there) = (place(at, bytes), place(at, other));
            bytes.truncate(here);
            bytes.extend_from_slice(&other[there..]);
        }
        Change::End(at) => {
            let at = place(at, bytes);
            bytes.truncate(at);
        }
        Change::Repeat(at, piece, count) => {
            let at = place(at, bytes);
            bytes.splice(at..at, piece.repeat(count));
        }
    }
}

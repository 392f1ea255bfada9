//! How records hang together: the sum that each hands to the next.
//!
//! Owns the sum's recipe and the salts. Never stores anything. The recipe is part of format 1: a body enters only
//! through its salted sum, so that it can be taken out later and the chain still verifies.

use quell_model::{Hash, Kind, Seq, Stamp};
use std::fs::File;
use std::io::{BufReader, Read};

/// Bytes of a salt.
pub(super) const SALT: usize = 16;

/// What a record's sum is made of.
#[derive(Debug)]
pub(super) struct Sum<'a> {
    pub(super) prev: Hash,
    pub(super) v: u16,
    pub(super) seq: Seq,
    pub(super) at: Stamp,
    pub(super) kind: Kind,
    pub(super) salt: &'a [u8; SALT],
    pub(super) body: &'a str,
}

impl Sum<'_> {
    /// The chained sum: `prev` of the record after this one.
    pub(super) fn hash(&self) -> Hash {
        link(self.prev, self.v, (self.seq, self.at), self.kind, body_sum(self.salt, self.body))
    }
}

/// The salted sum by which a body enters the chain.
pub(super) fn body_sum(salt: &[u8; SALT], body: &str) -> Hash {
    Hash::of_parts(&[salt, body.as_bytes()])
}

/// The chained sum, of a record whose body need not be there.
pub(super) fn link(prev: Hash, v: u16, (seq, at): (Seq, Stamp), kind: Kind, body: Hash) -> Hash {
    Hash::of_parts(&[
        &prev.0,
        &v.to_le_bytes(),
        &seq.to_le_bytes(),
        at.wall.to_string().as_bytes(),
        &at.boot_ns.to_le_bytes(),
        kind.as_str().as_bytes(),
        &body.0,
    ])
}

/// The one place where the engine takes chance from: the kernel's, or a file that stands in for it.
#[derive(Debug)]
pub(super) struct Salts(BufReader<File>);

impl Salts {
    /// Opens the kernel's source.
    pub(super) fn open() -> std::io::Result<Self> {
        // 32 salts a read: enough for a group, too few to lie around for long.
        File::open("/dev/urandom").map(Self::of)
    }

    /// What a file holds instead.
    pub(super) fn of(file: File) -> Self {
        Self(BufReader::with_capacity(32 * SALT, file))
    }

    /// 16 bytes that nobody can guess.
    pub(super) fn next(&mut self) -> std::io::Result<[u8; SALT]> {
        let mut salt = [0; SALT];
        self.0.read_exact(&mut salt)?;
        Ok(salt)
    }
}

/// Bytes as lower-case hex, as records show their salts.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        for digit in [byte >> 4, byte & 15] {
            text.push(char::from_digit(u32::from(digit), 16).expect("four bits are one digit"));
        }
        text
    })
}

/// A salt as records show it.
pub(super) fn unhex(text: &str) -> Option<[u8; SALT]> {
    let digit = |digit: u8| char::from(digit).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let bytes = text.as_bytes().chunks(2).map(|pair| match pair {
        [high, low] => Some(digit(*high)? << 4 | digit(*low)?),
        _ => None,
    });
    bytes.collect::<Option<Vec<u8>>>()?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_counts() {
        let at = Stamp { wall: jiff::Timestamp::UNIX_EPOCH, boot_ns: 7 };
        let sum = |change: fn(&mut Sum<'_>)| {
            let mut sum =
                Sum { prev: Hash::default(), v: 1, seq: 1, at, kind: Kind::NoteAdded, salt: &[3; SALT], body: "{}" };
            change(&mut sum);
            sum.hash()
        };
        let all = [
            sum(|_| {}),
            sum(|s| s.prev = Hash::of(b"x")),
            sum(|s| s.v = 2),
            sum(|s| s.seq = 2),
            sum(|s| s.at.boot_ns = 8),
            sum(|s| s.at.wall = jiff::Timestamp::MAX),
            sum(|s| s.kind = Kind::PersonActed),
            sum(|s| s.salt = &[4; SALT]),
            sum(|s| s.body = "[]"),
        ];
        for (at, one) in all.iter().enumerate() {
            assert!(all[..at].iter().all(|other| other != one), "part {at} does not count");
        }
    }

    #[test]
    fn salts_differ() {
        let mut salts = Salts::open().unwrap();
        assert_ne!(salts.next().unwrap(), salts.next().unwrap());
        assert_eq!(hex(&[0, 0x1f, 0xff]), "001fff");
    }
}

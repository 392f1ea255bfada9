//! The bytes of a page: numbers of varying length, and the marks before what follows.
//!
//! Owns format 1 as far as single values go. A reader never trusts a length and never panics.

/// The version of the bytes.
pub(super) const VERSION: u64 = 1;

/// Marks of a field, in an event or a shared block.
pub(super) mod part {
    pub(in crate::recorder) const END: u8 = 0;
    pub(in crate::recorder) const SIGMA: u8 = 1;
    pub(in crate::recorder) const OWN: u8 = 2;
    pub(in crate::recorder) const WHOLE: u8 = 3;
    pub(in crate::recorder) const ENTITY: u8 = 4;
    /// A block that the page has already: its number.
    pub(in crate::recorder) const KNOWN: u8 = 5;
    /// A block that is new: its fields, up to `END`. It takes the next number.
    pub(in crate::recorder) const NEW: u8 = 6;
}

/// Marks of a value.
pub(super) mod value {
    pub(in crate::recorder) const NULL: u8 = 0;
    pub(in crate::recorder) const FALSE: u8 = 1;
    pub(in crate::recorder) const TRUE: u8 = 2;
    pub(in crate::recorder) const INT: u8 = 3;
    pub(in crate::recorder) const BIG: u8 = 4;
    pub(in crate::recorder) const TEXT: u8 = 5;
    pub(in crate::recorder) const PROCESS: u8 = 6;
    pub(in crate::recorder) const MOMENT: u8 = 7;
    pub(in crate::recorder) const LIST: u8 = 8;
    pub(in crate::recorder) const MAP: u8 = 9;
    /// The process that the event's subject is.
    pub(in crate::recorder) const SUBJECT: u8 = 10;
    /// Eight bytes, low ones first.
    pub(in crate::recorder) const FLOAT: u8 = 11;
}

/// Marks of a subject.
pub(super) mod subject {
    pub(in crate::recorder) const UNKNOWN: u8 = 0;
    pub(in crate::recorder) const PROCESS: u8 = 1;
    pub(in crate::recorder) const PRINCIPAL: u8 = 2;
    pub(in crate::recorder) const USER: u8 = 3;
}

/// Numbers before a text: a new one that is not kept, a new one that takes the next number, or the number of a known
/// one and two.
pub(super) const TEXT_ONCE: u64 = 0;
pub(super) const TEXT_NEW: u64 = 1;
pub(super) const TEXT_KNOWN: u64 = 2;

/// Texts and blocks that a page tells apart; further ones are written out each time.
pub(super) const MOST_KNOWN: usize = 2048;
/// Lists and maps stand in one another no deeper: serde_json's own bound.
pub(super) const DEPTH: u8 = 128;

/// Seven bits a byte, low ones first.
pub(super) fn put(to: &mut Vec<u8>, mut n: u64) {
    while n >= 0x80 {
        to.push(n as u8 | 0x80);
        n >>= 7;
    }
    to.push(n as u8);
}

/// The same for a difference of two wall clock times, which may span centuries.
pub(super) fn put_wide(to: &mut Vec<u8>, n: i128) {
    let mut n = ((n << 1) ^ (n >> 127)).cast_unsigned();
    while n >= 0x80 {
        to.push(n as u8 | 0x80);
        n >>= 7;
    }
    to.push(n as u8);
}

/// Small numbers of either sign become small numbers.
pub(super) fn zigzag(n: i64) -> u64 {
    ((n << 1) ^ (n >> 63)).cast_unsigned()
}

/// Its inverse.
pub(super) fn unzigzag(n: u64) -> i64 {
    (n >> 1).cast_signed() ^ -((n & 1).cast_signed())
}

/// The bytes are no page, or were changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the page is damaged at byte {0}")]
pub struct Damaged(pub usize);

/// A place in a page's bytes.
#[derive(Clone, Debug)]
pub(super) struct Cursor<'p> {
    bytes: &'p [u8],
    at: usize,
}

impl<'p> Cursor<'p> {
    pub(super) fn new(bytes: &'p [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// From another place of the same bytes.
    pub(super) fn from(&self, at: usize) -> Self {
        Self { bytes: self.bytes, at }
    }

    pub(super) fn at(&self) -> usize {
        self.at
    }

    /// What was passed since a place.
    pub(super) fn since(&self, from: usize) -> &'p [u8] {
        self.bytes.get(from..self.at).unwrap_or_default()
    }

    pub(super) fn is_at_end(&self) -> bool {
        self.at >= self.bytes.len()
    }

    pub(super) fn damaged(&self) -> Damaged {
        Damaged(self.at)
    }

    pub(super) fn byte(&mut self) -> Result<u8, Damaged> {
        let byte = *self.bytes.get(self.at).ok_or(Damaged(self.at))?;
        self.at += 1;
        Ok(byte)
    }

    pub(super) fn number(&mut self) -> Result<u64, Damaged> {
        let mut n = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            let bits = u64::from(byte & 0x7f);
            if shift == 63 && bits > 1 {
                break;
            }
            n |= bits << shift;
            if byte < 0x80 {
                return Ok(n);
            }
        }
        Err(self.damaged())
    }

    pub(super) fn wide(&mut self) -> Result<i128, Damaged> {
        let mut n = 0u128;
        for shift in (0..128).step_by(7) {
            let byte = self.byte()?;
            let bits = u128::from(byte & 0x7f);
            if shift == 126 && bits > 3 {
                break;
            }
            n |= bits << shift;
            if byte < 0x80 {
                return Ok((n >> 1).cast_signed() ^ -((n & 1).cast_signed()));
            }
        }
        Err(self.damaged())
    }

    pub(super) fn float(&mut self) -> Result<f64, Damaged> {
        let bytes = self.bytes.get(self.at..).and_then(|rest| rest.first_chunk()).ok_or(Damaged(self.at))?;
        self.at += bytes.len();
        Ok(f64::from_le_bytes(*bytes))
    }

    pub(super) fn small(&mut self) -> Result<u32, Damaged> {
        let at = self.at;
        u32::try_from(self.number()?).map_err(|_| Damaged(at))
    }

    pub(super) fn size(&mut self) -> Result<usize, Damaged> {
        let at = self.at;
        usize::try_from(self.number()?).map_err(|_| Damaged(at))
    }

    pub(super) fn text(&mut self) -> Result<&'p str, Damaged> {
        let at = self.at;
        let length = self.size()?;
        let end = self.at.checked_add(length).ok_or(Damaged(at))?;
        let bytes = self.bytes.get(self.at..end).ok_or(Damaged(at))?;
        self.at = end;
        std::str::from_utf8(bytes).map_err(|_| Damaged(at))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn numbers_go_there_and_back(n: u64, i: i64, w: i128) {
            let mut bytes = Vec::new();
            put(&mut bytes, n);
            put(&mut bytes, zigzag(i));
            put_wide(&mut bytes, w);
            let mut cursor = Cursor::new(&bytes);
            prop_assert_eq!(cursor.number(), Ok(n));
            prop_assert_eq!(cursor.number().map(unzigzag), Ok(i));
            prop_assert_eq!(cursor.wide(), Ok(w));
            prop_assert!(cursor.is_at_end());
        }
    }

    #[test]
    fn what_is_too_long_or_cut_is_damaged() {
        for bytes in [&[0xff; 11][..], &[0x80], &[]] {
            assert!(Cursor::new(bytes).number().is_err());
            assert!(Cursor::new(bytes).wide().is_err() || bytes.len() == 11);
        }
        assert_eq!(Cursor::new(&[5, b'a']).text(), Err(Damaged(0)));
        assert_eq!(Cursor::new(&[1, 0xff]).text(), Err(Damaged(0)));
    }
}

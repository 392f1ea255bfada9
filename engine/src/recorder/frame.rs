//! A page as it stands in a file: a head that says what is in it, and its bytes, compressed.
//!
//! ```text
//! ┌ skippable frame (RFC 8878, 3.1.2): mark, length, head ┐┌ zstd frame with its sum ┐┌ the next page …
//! ```
//!
//! Owns the file's half of format 1. Any zstd reads such a file; ours passes over pages without unpacking them. A file
//! that ends within a page, or was changed, is told and no more trusted from there on.

use super::page::{Missed, Page, zero};
use super::wire::VERSION;
use quell_model::Stamp;
use std::io::{self, ErrorKind, Read};

/// How every page begins, and so every file of pages: one of zstd's sixteen marks of a frame to be skipped.
pub const MARK: [u8; 4] = 0x184d_2a5e_u32.to_le_bytes();
const WORDS: usize = 15;
/// Mark, length, name, head and its sum.
pub(super) const HEAD: usize = 4 + 4 + 4 + WORDS * 8 + 8;
const NAME: [u8; 4] = *b"qrec";
/// No page is larger: a full one and the largest foreign record.
const LARGEST: u64 = 8 << 20;
/// This is the first page of a recorder: what came before it was not recorded by anyone.
const BEGAN: u64 = 1;

/// What a page's head says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PageHead {
    /// How many events it has.
    pub events: u64,
    /// The earliest of them.
    pub from: Stamp,
    /// The latest.
    pub to: Stamp,
    /// What could not be recorded before it.
    pub missed: Option<Missed>,
    /// A recorder began here: the time since the page before was not recorded.
    pub began: bool,
    /// Which boot its boot times are of: a sum of the boot id.
    pub boot: u64,
    /// The size of its bytes.
    raw: u64,
    /// Their size in the file.
    packed: u64,
}

impl PageHead {
    /// What it takes in the file.
    #[must_use]
    pub fn size(&self) -> u64 {
        HEAD as u64 + self.packed
    }
}

fn wall(stamp: Stamp) -> u64 {
    i64::try_from(stamp.wall.as_nanosecond()).unwrap_or(i64::MAX).cast_unsigned()
}

fn stamp(wall: u64, boot_ns: u64) -> Stamp {
    let wall = jiff::Timestamp::from_nanosecond(wall.cast_signed().into()).unwrap_or_default();
    Stamp { wall, boot_ns }
}

/// FNV-1a: a head that was cut or changed is seen; the page itself has zstd's sum.
pub(super) fn sum(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |sum, b| (sum ^ u64::from(*b)).wrapping_mul(0x0100_0000_01b3))
}

/// Packs pages; keeps its memory between them.
pub struct Packer {
    zstd: zstd::bulk::Compressor<'static>,
    out: Vec<u8>,
}

impl std::fmt::Debug for Packer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Packer")
    }
}

/// Fast, and half the size that it was.
const LEVEL: i32 = 1;

impl Packer {
    /// A packer.
    ///
    /// # Errors
    /// When there is no memory for it.
    pub fn new() -> io::Result<Self> {
        let mut zstd = zstd::bulk::Compressor::new(LEVEL)?;
        zstd.include_checksum(true)?;
        Ok(Self { zstd, out: Vec::new() })
    }

    /// The page as it stands in a file.
    ///
    /// # Errors
    /// When there is no memory for it.
    pub fn pack(&mut self, page: &Page, boot: u64, began: bool) -> io::Result<&[u8]> {
        self.out.clear();
        self.out.resize(HEAD + zstd::zstd_safe::compress_bound(page.bytes().len()), 0);
        let packed = self.zstd.compress_to_buffer(page.bytes(), &mut self.out[HEAD..])?;
        self.out.truncate(HEAD + packed);
        let missed = page.missed();
        let (from, to) = page.span().or(missed.map(|missed| (missed.from, missed.to))).unwrap_or((zero(), zero()));
        let (lost, lost_from, lost_to) = missed.map_or((0, zero(), zero()), |m| (m.events, m.from, m.to));
        let words: [u64; WORDS] = [
            VERSION,
            if began { BEGAN } else { 0 },
            boot,
            page.events(),
            page.bytes().len() as u64,
            packed as u64,
            wall(from),
            from.boot_ns,
            wall(to),
            to.boot_ns,
            lost,
            wall(lost_from),
            wall(lost_to),
            lost_from.boot_ns,
            lost_to.boot_ns,
        ];
        let length = u32::try_from(HEAD - 8).expect("a constant below a kilobyte");
        self.out[..4].copy_from_slice(&MARK);
        self.out[4..8].copy_from_slice(&length.to_le_bytes());
        self.out[8..12].copy_from_slice(&NAME);
        for (to, word) in self.out[12..].as_chunks_mut::<8>().0.iter_mut().zip(words) {
            *to = word.to_le_bytes();
        }
        let own = sum(&self.out[8..HEAD - 8]);
        self.out[HEAD - 8..HEAD].copy_from_slice(&own.to_le_bytes());
        Ok(&self.out)
    }
}

/// Why the rest of a file is not read.
#[derive(Debug, thiserror::Error)]
pub enum Broken {
    /// The file ends within a page: its writer was killed, or is at it.
    #[error("it ends within a page")]
    Torn,
    /// What is there is no page.
    #[error("what is there is no page of a recording: it was changed")]
    NoPage,
    /// Written by another quell.
    #[error("it was written in format {0}, which this quell does not read")]
    Version(u64),
    /// The file cannot be read.
    #[error("it cannot be read: {0}")]
    Input(#[source] io::Error),
}

impl From<io::Error> for Broken {
    fn from(error: io::Error) -> Self {
        if error.kind() == ErrorKind::UnexpectedEof { Self::Torn } else { Self::Input(error) }
    }
}

/// Reads pages one after another; keeps its memory between them.
#[derive(Default)]
pub struct Unpacker {
    packed: Vec<u8>,
    raw: Vec<u8>,
}

impl std::fmt::Debug for Unpacker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Unpacker")
    }
}

/// The next page's head; none at the end.
///
/// # Errors
/// When what follows is no whole head.
pub fn head(input: &mut impl Read) -> Result<Option<PageHead>, Broken> {
    let mut bytes = [0; HEAD];
    loop {
        match input.read(&mut bytes[..1]) {
            Ok(0) => return Ok(None),
            Ok(_) => break,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error.into()),
        }
    }
    input.read_exact(&mut bytes[1..])?;
    let length = u32::from_le_bytes(bytes[4..8].try_into().unwrap_or_default());
    let own = u64::from_le_bytes(bytes[HEAD - 8..].try_into().unwrap_or_default());
    if bytes[..4] != MARK || bytes[8..12] != NAME || length as usize != HEAD - 8 || own != sum(&bytes[8..HEAD - 8]) {
        return Err(Broken::NoPage);
    }
    let mut words = [0; WORDS];
    for (word, bytes) in words.iter_mut().zip(bytes[12..].as_chunks::<8>().0) {
        *word = u64::from_le_bytes(*bytes);
    }
    let [version, flags, boot, events, raw, packed, from, from_boot, to, to_boot, lost, rest @ ..] = words;
    if version != VERSION {
        return Err(Broken::Version(version));
    }
    if raw > LARGEST || packed > LARGEST {
        return Err(Broken::NoPage);
    }
    let [lost_from, lost_to, lost_from_boot, lost_to_boot] = rest;
    let missed = (lost > 0).then(|| Missed {
        events: lost,
        from: stamp(lost_from, lost_from_boot),
        to: stamp(lost_to, lost_to_boot),
    });
    let (from, to) = (stamp(from, from_boot), stamp(to, to_boot));
    Ok(Some(PageHead { events, from, to, missed, began: flags & BEGAN != 0, boot, raw, packed }))
}

impl Unpacker {
    /// The bytes of the page whose head was read last.
    ///
    /// # Errors
    /// `Torn` when the file ends before the page does, `NoPage` when it was changed.
    pub fn bytes(&mut self, head: &PageHead, input: &mut impl Read) -> Result<&[u8], Broken> {
        let size = |n: u64| usize::try_from(n).map_err(|_| Broken::NoPage);
        self.packed.clear();
        let read = input.by_ref().take(head.packed).read_to_end(&mut self.packed)?;
        if (read as u64) < head.packed {
            return Err(Broken::Torn);
        }
        self.raw.clear();
        self.raw.resize(size(head.raw)?, 0);
        let unpacked = zstd::bulk::decompress_to_buffer(&self.packed, &mut self.raw).map_err(|_| Broken::NoPage)?;
        if unpacked == self.raw.len() { Ok(&self.raw) } else { Err(Broken::NoPage) }
    }
}

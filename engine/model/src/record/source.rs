//! The body of a record about a source: how far it was read.
//!
//! Owns the shapes. What a position means is the source's own: whoever else reads it only keeps it. Keeps true: a position is
//! never ahead of what was taken in.

use crate::hash::Hash;
use crate::ids::Name;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// See [`super::Kind::SourceAdvanced`]. Written together with what was accepted from there, or after it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct SourceAdvanced {
    /// Which source: what its events are called.
    pub source: Name,
    /// These are all of its parts: others are forgotten. Else only those that have moved.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub whole: bool,
    /// How far each part was read.
    pub positions: Vec<Position>,
}

/// How far a part of a source was read.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(tag = "part", rename_all = "snake_case")]
pub enum Position {
    /// Of a file, or of a folder's file.
    File(FilePosition),
}

impl Position {
    /// Which part of its source it is of.
    #[must_use]
    pub fn part(&self) -> Part {
        match self {
            Self::File(file) => Part::File(file.device, file.inode, file.born),
        }
    }

    /// Whether the part is gone: nothing more comes of it.
    #[must_use]
    pub fn is_gone(&self) -> bool {
        match self {
            Self::File(file) => file.gone && file.past.is_none(),
        }
    }

    /// Whether the part was there before its source was first followed: then it is known from the source's beginning on.
    #[must_use]
    pub fn was_there(&self) -> bool {
        match self {
            Self::File(file) => file.before > 0,
        }
    }

    /// What holds of the part once this one and the other are both taken in, whichever came first.
    #[must_use]
    pub fn join(&self, other: &Self) -> Self {
        match (self, other) {
            (Self::File(one), Self::File(other)) => Self::File(one.join(other)),
        }
    }
}

/// Tells the parts of one source apart.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Part {
    /// Device, inode and birth.
    File(u64, u64, Option<Timestamp>),
}

/// How far a file was read. Its name says where to look for it first: it is known by its inode, and by how it begins.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct FilePosition {
    /// Where it was seen last.
    pub path: String,
    /// The device that it is on.
    pub device: u64,
    /// Its inode there.
    pub inode: u64,
    /// When it was made, where the file system tells.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub born: Option<Timestamp>,
    /// How it begins: what a copy of it has in common with it, and a file that was cut off and written anew has not.
    pub head: FileHead,
    /// All from `before` to this byte was taken in; a line that has no end yet was not.
    pub offset: u64,
    /// What lies before this byte was there before the source was first followed.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub before: u64,
    /// Of that, what lies before this byte was taken in; none: all of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub past: Option<u64>,
    /// How often it was begun anew, since it was cut off.
    #[serde(default, skip_serializing_if = "is_never")]
    pub cut: u32,
    /// When it was last written to, as far as that was seen.
    pub modified: Timestamp,
    /// It was removed, or rotated away and read to its end.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub gone: bool,
}

impl FilePosition {
    /// Both ends move on, each by itself and never back; a file that was begun anew is another.
    fn join(&self, other: &Self) -> Self {
        if self.cut != other.cut {
            return if self.cut > other.cut { self.clone() } else { other.clone() };
        }
        let latest = if other.modified >= self.modified { other } else { self };
        let past = self.past.zip(other.past).map(|(one, other)| one.max(other)).filter(|past| *past < latest.before);
        Self { offset: self.offset.max(other.offset), past, gone: self.gone || other.gone, ..latest.clone() }
    }
}

/// The beginning of a file.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct FileHead {
    /// So many bytes of it.
    pub bytes: u64,
    /// Their sum.
    pub sum: Hash,
}

fn is_never(count: &u32) -> bool {
    *count == 0
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

//! What a look at a source brings: its lines, what could not be read, and how far that goes.

use crate::adapt::Unreadable;
use quell_model::record::source::{FilePosition, Position};
use quell_model::{Mistake, OwnedEvent};

/// What a look brought.
#[derive(Debug, Default)]
pub struct Batch {
    /// The events, in the order in which they stand in their files.
    pub lines: Vec<Line>,
    /// What could not be read.
    pub unreadable: Vec<Unreadable>,
    /// What is to be said of the source itself: a bound that is reached, or a part of it that is away. Each once, and few at a time.
    pub said: Vec<Mistake>,
    /// How far each file was read that was read on. They hold once all lines are taken in.
    pub files: Vec<FilePosition>,
    /// The source begins only now, with these of its files: that holds before the lines do.
    pub ground: Option<Vec<FilePosition>>,
    /// Files that were away and have another number now, with all that is known of them, and the ends of what they were. That holds
    /// before the lines do.
    pub found: Vec<FilePosition>,
}

/// An event of a file.
#[derive(Debug)]
pub struct Line {
    /// What it says.
    pub event: OwnedEvent,
    /// It was there before the source was first followed.
    pub backfill: bool,
    /// Its file's place in [`Batch::files`].
    pub file: usize,
    /// What lies before this byte of the file is taken in with it. Of a document of many events only the last one ends it.
    pub upto: u64,
}

impl Line {
    /// How far its file is read once it is taken in.
    #[must_use]
    pub fn position(&self, files: &[FilePosition]) -> Option<Position> {
        let file = files.get(self.file)?;
        let mut position = FilePosition { gone: false, ..file.clone() };
        if self.backfill {
            position.past = Some(self.upto);
        } else {
            position.offset = self.upto;
        }
        Some(Position::File(position))
    }
}

impl Batch {
    /// Whether nothing was read, and nothing has changed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        let is_silent =
            self.lines.is_empty() && self.unreadable.is_empty() && self.said.is_empty() && self.files.is_empty();
        is_silent && self.ground.is_none() && self.found.is_empty()
    }
}

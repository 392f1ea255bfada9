//! The quick look at a page: which incidents want which of its events.
//!
//! Owns the texts and shared fields of a page as they grow on the way. Makes no event: a page of some thousand takes a
//! tenth of a millisecond. What stands in shared fields is looked up once a page.

use super::interest::{Interest, Mask};
use super::page::{offset, zero};
use super::read::Kin;
use super::walk::{Block, Met, Walk, Who};
use super::wire::{Cursor, Damaged, MOST_KNOWN, unzigzag};
use quell_model::{Class, Stamp};
use std::ops::Range;

/// Fields that events share.
#[derive(Debug)]
pub(super) struct Shared<'p> {
    /// Where they begin.
    pub(super) begin: usize,
    /// Behind their end.
    pub(super) end: usize,
    /// How many texts had a number before it, and after it.
    pub(super) texts: usize,
    pub(super) texts_after: usize,
    below: Mask,
    entity: Option<(&'p str, &'p str)>,
}

/// An event that was looked at.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Brief {
    /// When it happened.
    pub(super) at: Stamp,
    /// Its class, as it is written.
    pub(super) class: u8,
    /// Its bytes from behind its own moment to its end.
    pub(super) bytes: Range<usize>,
    /// How many texts and blocks had a number before it.
    pub(super) texts: usize,
    pub(super) blocks: usize,
    /// Which incidents want it.
    pub(super) wanted: Mask,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Skim<'i, 'p> {
    pub(super) cursor: Cursor<'p>,
    pub(super) texts: Vec<&'p str>,
    pub(super) blocks: Vec<Shared<'p>>,
    interest: &'i Interest,
    last: Stamp,
    broken: bool,
    /// Of the event at hand: who wants it for its ancestors, and what it is about by its own and by shared fields.
    below: Mask,
    entity: Option<(&'p str, &'p str)>,
    shared_entity: Option<(&'p str, &'p str)>,
}

impl<'i, 'p> Skim<'i, 'p> {
    /// Over a page's bytes.
    pub(super) fn new(bytes: &'p [u8], interest: &'i Interest) -> Self {
        Self {
            cursor: Cursor::new(bytes),
            texts: Vec::new(),
            blocks: Vec::new(),
            interest,
            last: zero(),
            broken: false,
            below: 0,
            entity: None,
            shared_entity: None,
        }
    }

    /// The next event; none at the end, and after an error.
    pub(super) fn step(&mut self) -> Option<Result<Brief, Damaged>> {
        if self.broken || self.cursor.is_at_end() {
            return None;
        }
        let seen = self.event();
        self.broken = seen.is_err();
        Some(seen)
    }

    fn event(&mut self) -> Result<Brief, Damaged> {
        let (texts, blocks) = (self.texts.len(), self.blocks.len());
        (self.below, self.entity, self.shared_entity) = (0, None, None);
        let class = self.cursor.byte()?;
        if usize::from(class) >= Class::ALL.len() {
            return Err(self.cursor.damaged());
        }
        let at = self.moment()?;
        self.last = at;
        let begin = self.cursor.at();
        let mut walk = Walk::new(self.cursor.clone(), self);
        let who = walk.event()?;
        self.cursor = walk.cursor;
        let wanted = match who {
            Who::Process(kin) => self.interest.own(kin) | self.below,
            Who::Other => {
                let about = self.entity.or(self.shared_entity);
                about.map_or(0, |(kind, id)| self.interest.about(kind, id))
            }
        };
        Ok(Brief { at, class, bytes: begin..self.cursor.at(), texts, blocks, wanted })
    }

    fn moment(&mut self) -> Result<Stamp, Damaged> {
        let apart = self.cursor.wide()?;
        let boot_ns = self.last.boot_ns.wrapping_add(unzigzag(self.cursor.number()?).cast_unsigned());
        let wall = offset(self.last).checked_add(apart).and_then(|offset| offset.checked_add(boot_ns.into()));
        let wall = wall.and_then(|wall| jiff::Timestamp::from_nanosecond(wall).ok());
        Ok(Stamp { wall: wall.ok_or(self.cursor.damaged())?, boot_ns })
    }
}

impl<'p> Met<'p> for Skim<'_, 'p> {
    fn fresh(&mut self, text: &'p str) -> Option<usize> {
        if self.texts.len() >= MOST_KNOWN {
            return None;
        }
        self.texts.push(text);
        Some(self.texts.len() - 1)
    }

    fn known(&self, number: usize) -> Option<&'p str> {
        self.texts.get(number).copied()
    }

    fn block(&mut self, _: &'p [u8], block: Block<'_, 'p>) -> Result<(), Damaged> {
        let number = match block {
            Block::Known(number) => number,
            Block::New(cursor) => {
                if self.blocks.len() >= MOST_KNOWN {
                    return Err(cursor.damaged());
                }
                let (texts, begin) = (self.texts.len(), cursor.at());
                // What the block says is kept apart from what the event says.
                let own = (std::mem::take(&mut self.below), self.entity.take());
                let mut walk = Walk::new(cursor.clone(), self);
                walk.parts(true)?;
                *cursor = walk.cursor;
                let (end, texts_after) = (cursor.at(), self.texts.len());
                let shared = Shared { begin, end, texts, texts_after, below: self.below, entity: self.entity };
                (self.below, self.entity) = own;
                self.blocks.push(shared);
                self.blocks.len() - 1
            }
        };
        let Some(shared) = self.blocks.get(number) else { return Err(self.cursor.damaged()) };
        self.below |= shared.below;
        self.shared_entity = shared.entity.or(self.shared_entity);
        Ok(())
    }

    fn above(&mut self, kin: Kin) {
        self.below |= self.interest.below(kin);
    }

    fn entity(&mut self, kind: &'p str, id: &'p str) {
        self.entity = Some((kind, id));
    }
}

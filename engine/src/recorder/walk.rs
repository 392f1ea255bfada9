//! A walk over a page's bytes that makes nothing: it passes over each value, and says what it meets on the way.
//!
//! Owns the structure of format 1 for those who need not know what an event says: who looks for events about somebody
//! (`skim.rs`), and who copies some into another page (`page/copy.rs`). Whatever the bytes are: an error, never a panic.

use super::read::{Kin, kin};
use super::wire::{Cursor, DEPTH, Damaged, TEXT_KNOWN, TEXT_NEW, TEXT_ONCE, part, subject, value};
use quell_model::ProcessId;
use quell_model::process::TICK_NS;

/// Who is told what a walk meets.
pub(super) trait Met<'p> {
    /// A text that takes a number; none when there are too many.
    fn fresh(&mut self, text: &'p str) -> Option<usize>;
    /// The text of a number.
    fn known(&self, number: usize) -> Option<&'p str>;
    /// A text, with its number if it has one, after the bytes since the text before it.
    fn text(&mut self, _before: &'p [u8], _text: &'p str, _number: Option<usize>) {}
    /// An event's shared fields. They are walked over by whoever is told, or were before.
    fn block(&mut self, before: &'p [u8], block: Block<'_, 'p>) -> Result<(), Damaged>;
    /// A process that stands among the ancestors.
    fn above(&mut self, _kin: Kin) {}
    /// What an incident about it is about.
    fn entity(&mut self, _kind: &'p str, _id: &'p str) {}
}

/// Shared fields as an event names them.
pub(super) enum Block<'c, 'p> {
    /// By their number.
    Known(usize),
    /// They follow: who is told moves on to their end.
    New(&'c mut Cursor<'p>),
}

/// Who did it, as far as a walk reads it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Who {
    Process(Kin),
    Other,
}

/// See the module.
pub(super) struct Walk<'a, 'p, M> {
    pub(super) cursor: Cursor<'p>,
    pub(super) met: &'a mut M,
    /// Where the bytes begin that nobody was told of.
    untold: usize,
}

impl<'a, 'p, M: Met<'p>> Walk<'a, 'p, M> {
    /// From a place on.
    pub(super) fn new(cursor: Cursor<'p>, met: &'a mut M) -> Self {
        let untold = cursor.at();
        Self { cursor, met, untold }
    }

    /// The bytes since the last text.
    pub(super) fn rest(&mut self) -> &'p [u8] {
        let rest = self.cursor.since(self.untold);
        self.untold = self.cursor.at();
        rest
    }

    /// An event from behind its own moment to its end.
    pub(super) fn event(&mut self) -> Result<Who, Damaged> {
        self.cursor.wide()?;
        self.cursor.number()?;
        let is_parted = self.cursor.byte()? != 0;
        self.text()?;
        if is_parted {
            self.cursor.number()?;
        }
        self.text()?;
        self.text()?;
        let mask = self.cursor.byte()?;
        for _ in 0..(mask & 7).count_ones() {
            self.text()?;
        }
        let who = match self.cursor.byte()? {
            subject::UNKNOWN => Who::Other,
            subject::PROCESS => Who::Process(self.process()?),
            subject::PRINCIPAL | subject::USER => {
                self.text()?;
                Who::Other
            }
            _ => return Err(self.cursor.damaged()),
        };
        self.parts(false)?;
        Ok(who)
    }

    /// Fields up to the end of an event, or of a block.
    pub(super) fn parts(&mut self, in_block: bool) -> Result<(), Damaged> {
        loop {
            match self.cursor.byte()? {
                part::END => return Ok(()),
                part::SIGMA => {
                    self.text()?;
                    self.value(DEPTH)?;
                }
                part::OWN => {
                    if self.text()? == "process.ancestors" {
                        self.line()?
                    } else {
                        self.value(DEPTH)?
                    }
                }
                part::WHOLE => {
                    if self.text()? == "process" {
                        self.whole_process()?
                    } else {
                        self.value(DEPTH)?
                    }
                }
                part::ENTITY => {
                    let (kind, id) = (self.text()?, self.text()?);
                    self.text()?;
                    self.met.entity(kind, id);
                }
                mark @ (part::KNOWN | part::NEW) if !in_block => {
                    // The mark is the block's, not the event's.
                    let all = self.rest();
                    let before = &all[..all.len() - 1];
                    if mark == part::KNOWN {
                        let number = self.cursor.size()?;
                        self.met.block(before, Block::Known(number))?;
                    } else {
                        self.met.block(before, Block::New(&mut self.cursor))?;
                    }
                    self.untold = self.cursor.at();
                }
                _ => return Err(self.cursor.damaged()),
            }
        }
    }

    fn text(&mut self) -> Result<&'p str, Damaged> {
        let before = self.cursor.since(self.untold);
        let (text, number) = match self.cursor.number()? {
            TEXT_ONCE => (self.cursor.text()?, None),
            TEXT_NEW => {
                let text = self.cursor.text()?;
                (text, Some(self.met.fresh(text).ok_or(self.cursor.damaged())?))
            }
            number => {
                let number = usize::try_from(number - TEXT_KNOWN).map_err(|_| self.cursor.damaged())?;
                (self.met.known(number).ok_or(self.cursor.damaged())?, Some(number))
            }
        };
        self.untold = self.cursor.at();
        self.met.text(before, text, number);
        Ok(text)
    }

    fn process(&mut self) -> Result<Kin, Damaged> {
        let (pid, start_ns) = (self.cursor.small()?, self.cursor.number()?);
        self.cursor.small()?;
        self.text()?;
        Ok((pid, start_ns / TICK_NS))
    }

    fn value(&mut self, depth: u8) -> Result<(), Damaged> {
        match self.cursor.byte()? {
            value::NULL | value::FALSE | value::TRUE | value::SUBJECT => {}
            value::INT | value::BIG | value::MOMENT => drop(self.cursor.number()?),
            value::FLOAT => drop(self.cursor.float()?),
            value::TEXT => drop(self.text()?),
            value::PROCESS => drop(self.process()?),
            value::LIST if depth > 0 => {
                for _ in 0..self.cursor.size()? {
                    self.value(depth - 1)?;
                }
            }
            value::MAP if depth > 0 => {
                for _ in 0..self.cursor.size()? {
                    self.text()?;
                    self.value(depth - 1)?;
                }
            }
            _ => return Err(self.cursor.damaged()),
        }
        Ok(())
    }

    /// The value of `process`, told as a whole.
    fn whole_process(&mut self) -> Result<(), Damaged> {
        if !self.is_next(value::MAP)? {
            return self.value(DEPTH);
        }
        for _ in 0..self.cursor.size()? {
            if self.text()? == "ancestors" { self.line()? } else { self.value(DEPTH - 1)? }
        }
        Ok(())
    }

    /// The value of `process.ancestors`: who is in it is told, whichever way it is written.
    fn line(&mut self) -> Result<(), Damaged> {
        if !self.is_next(value::LIST)? {
            return self.value(DEPTH);
        }
        for _ in 0..self.cursor.size()? {
            if !self.is_next(value::MAP)? {
                self.value(DEPTH - 1)?;
                continue;
            }
            for _ in 0..self.cursor.size()? {
                if self.text()? == "id" { self.named()? } else { self.value(DEPTH - 2)? }
            }
        }
        Ok(())
    }

    fn named(&mut self) -> Result<(), Damaged> {
        let found = if self.is_next(value::PROCESS)? {
            Some(self.process()?)
        } else if self.is_next(value::TEXT)? {
            self.text()?.parse::<ProcessId>().ok().as_ref().map(kin)
        } else {
            self.value(DEPTH - 2)?;
            None
        };
        if let Some(found) = found {
            self.met.above(found);
        }
        Ok(())
    }

    /// Whether a value of this kind begins here; then it was begun.
    fn is_next(&mut self, mark: u8) -> Result<bool, Damaged> {
        let mut ahead = self.cursor.clone();
        let is = ahead.byte()? == mark;
        if is {
            self.cursor = ahead;
        }
        Ok(is)
    }
}

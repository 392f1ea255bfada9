//! Events copied from one page into another as bytes: what they say is not read, only renumbered.
//!
//! Owns which text and which shared fields of the one page have which number in the other. Keeps true: what is read from
//! the copy is what would have been read from the page that it was copied from.

use super::super::skim::{Brief, Skim};
use super::super::walk::{Block, Met, Walk};
use super::super::wire::{Damaged, TEXT_KNOWN, part, put};
use super::Page;
use quell_model::Token;

/// A page that is filled from others.
#[derive(Debug, Default)]
pub(in crate::recorder) struct Copy {
    page: Page,
    /// What a text of the page that is copied from has for a number here, and one; 0: it has none yet.
    texts: Vec<u16>,
    /// The same of its shared fields.
    blocks: Vec<u16>,
}

impl Copy {
    /// What was copied.
    pub(in crate::recorder) fn page(&self) -> &Page {
        &self.page
    }

    /// What comes now is copied from another page.
    pub(in crate::recorder) fn begin(&mut self) {
        self.texts.clear();
        self.blocks.clear();
    }

    /// Copies the event that `skim` has just looked at.
    ///
    /// # Errors
    /// When its bytes are damaged, which would have been seen before. The page is empty then.
    pub(in crate::recorder) fn add(&mut self, skim: &Skim<'_, '_>, event: &Brief) -> Result<(), Damaged> {
        self.texts.resize(skim.texts.len(), 0);
        self.blocks.resize(skim.blocks.len(), 0);
        self.page.begin(event.class, event.at);
        let (page, texts, blocks) = (&mut self.page, &mut self.texts[..], &mut self.blocks[..]);
        let mut onto = Onto { page, texts, blocks, skim, next_text: event.texts, next_block: event.blocks };
        let mut walk = Walk::new(skim.cursor.from(event.bytes.start), &mut onto);
        let copied = walk.event();
        let rest = walk.rest();
        if let Err(damaged) = copied {
            self.page.clear();
            self.begin();
            return Err(damaged);
        }
        self.page.bytes.extend_from_slice(rest);
        self.page.end(event.at);
        Ok(())
    }
}

/// The page that is written to, and how far the other one was read.
struct Onto<'c, 's, 'i, 'p> {
    page: &'c mut Page,
    texts: &'c mut [u16],
    blocks: &'c mut [u16],
    skim: &'s Skim<'i, 'p>,
    next_text: usize,
    next_block: usize,
}

impl<'p> Onto<'_, '_, '_, 'p> {
    fn shared(&mut self, number: usize) -> Result<(), Damaged> {
        let block = self.skim.blocks.get(number).ok_or(self.skim.cursor.damaged())?;
        let here = match self.blocks[number].checked_sub(1) {
            Some(here) => Some(here),
            None => self.page.blocks.find(sum(self.skim, number)?.0, |_| true),
        };
        if let Some(here) = here {
            self.blocks[number] = here + 1;
            self.page.bytes.push(part::KNOWN);
            put(&mut self.page.bytes, here.into());
            return Ok(());
        }
        let alone = self.page.blocks.is_full();
        if !alone {
            self.page.bytes.push(part::NEW);
        }
        let after = std::mem::replace(&mut self.next_text, block.texts);
        let mut walk = Walk::new(self.skim.cursor.from(block.begin), self);
        walk.parts(true)?;
        let rest = walk.rest();
        self.next_text = after;
        // Fields that stand alone do not end: the event does.
        self.page.bytes.extend_from_slice(&rest[..rest.len() - usize::from(alone)]);
        if !alone {
            self.blocks[number] = self.page.blocks.add(sum(self.skim, number)?.0, 0) + 1;
        }
        Ok(())
    }
}

impl<'p> Met<'p> for Onto<'_, '_, '_, 'p> {
    fn fresh(&mut self, _: &'p str) -> Option<usize> {
        self.next_text += 1;
        Some(self.next_text - 1)
    }

    fn known(&self, number: usize) -> Option<&'p str> {
        self.skim.texts.get(number).copied()
    }

    fn text(&mut self, before: &'p [u8], text: &'p str, number: Option<usize>) {
        self.page.bytes.extend_from_slice(before);
        let Some(number) = number else { return self.page.text_once(text) };
        match self.texts.get(number).and_then(|here| here.checked_sub(1)) {
            Some(here) => put(&mut self.page.bytes, u64::from(here) + TEXT_KNOWN),
            None => {
                if let (Some(here), Some(known)) = (self.page.text(text), self.texts.get_mut(number)) {
                    *known = here + 1;
                }
            }
        }
    }

    fn block(&mut self, before: &'p [u8], block: Block<'_, 'p>) -> Result<(), Damaged> {
        self.page.bytes.extend_from_slice(before);
        match block {
            Block::Known(number) => self.shared(number),
            Block::New(cursor) => {
                let number = self.next_block;
                let new = self.skim.blocks.get(number).ok_or(cursor.damaged())?;
                *cursor = cursor.from(new.end);
                self.next_block += 1;
                self.next_text = new.texts_after;
                self.shared(number)
            }
        }
    }
}

/// Stands for what shared fields say, whichever page they are in.
fn sum(skim: &Skim<'_, '_>, number: usize) -> Result<Token, Damaged> {
    let block = skim.blocks.get(number).ok_or(skim.cursor.damaged())?;
    let mut sum = Sum { token: Token::new(0), skim, next_text: block.texts };
    let mut walk = Walk::new(skim.cursor.from(block.begin), &mut sum);
    walk.parts(true)?;
    let rest = walk.rest();
    Ok(sum.token.with_bytes(rest))
}

struct Sum<'s, 'i, 'p> {
    token: Token,
    skim: &'s Skim<'i, 'p>,
    next_text: usize,
}

impl<'p> Met<'p> for Sum<'_, '_, 'p> {
    fn fresh(&mut self, _: &'p str) -> Option<usize> {
        self.next_text += 1;
        Some(self.next_text - 1)
    }

    fn known(&self, number: usize) -> Option<&'p str> {
        self.skim.texts.get(number).copied()
    }

    fn text(&mut self, before: &'p [u8], text: &'p str, _: Option<usize>) {
        self.token = self.token.with_bytes(before).with_text(text);
    }

    fn block(&mut self, _: &'p [u8], _: Block<'_, 'p>) -> Result<(), Damaged> {
        Err(self.skim.cursor.damaged())
    }
}

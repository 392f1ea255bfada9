//! The reading half of format 1: a page's bytes → events.
//!
//! Owns the tables of a page as they grow while it is read. An event is first only looked at (when, who), and made whole where
//! it is wanted. Whatever the bytes are: an error, never a panic.

use super::page::{offset, zero};
use super::wire::{
    Cursor, DEPTH, Damaged, MOST_KNOWN, TEXT_KNOWN, TEXT_NEW, TEXT_ONCE, part, subject, unzigzag, value,
};
use quell_model::{
    BootId, Class, EventHead, Gather, LogSource, Name, OwnedEvent, ProcessId, Stamp, Subject, Teller, Told,
};
use std::borrow::Cow;
use std::sync::Arc;

/// quell's own names lead through at most so many groups.
const GROUPS: usize = 8;

/// A process within one boot: its pid and its start in ticks.
pub type Kin = (u32, u64);

/// The short name of a process.
#[must_use]
pub fn kin(id: &ProcessId) -> Kin {
    (id.pid, id.start_ticks())
}

/// A field of an event or of a block.
#[derive(Clone, Debug)]
enum Part<'p> {
    Sigma(&'p str, Told<'p>),
    Own(&'p str, Told<'p>),
    Whole(&'p str, Told<'p>),
    Entity(&'p str, &'p str, &'p str),
    Block(Arc<Block<'p>>),
}

type Block<'p> = Vec<Part<'p>>;

/// The events of one page, in their order.
#[derive(Debug)]
pub struct Events<'p> {
    cursor: Cursor<'p>,
    texts: Vec<&'p str>,
    blocks: Vec<Arc<Block<'p>>>,
    last: Stamp,
    broken: bool,
}

/// An event that was looked at.
#[derive(Debug)]
pub struct Glimpse<'p> {
    head: EventHead,
    logsource: LogSource,
    subject: Subject,
    block: Block<'p>,
}

impl<'p> Events<'p> {
    /// Over a page's bytes.
    #[must_use]
    pub fn of(bytes: &'p [u8]) -> Self {
        Self { cursor: Cursor::new(bytes), texts: Vec::new(), blocks: Vec::new(), last: zero(), broken: false }
    }

    fn text(&mut self) -> Result<&'p str, Damaged> {
        match self.cursor.number()? {
            TEXT_ONCE => self.cursor.text(),
            TEXT_NEW => {
                let text = self.cursor.text()?;
                if self.texts.len() >= MOST_KNOWN {
                    return Err(self.cursor.damaged());
                }
                self.texts.push(text);
                Ok(text)
            }
            number => {
                let at = usize::try_from(number - TEXT_KNOWN).ok();
                at.and_then(|at| self.texts.get(at)).copied().ok_or(self.cursor.damaged())
            }
        }
    }

    fn event(&mut self) -> Result<Glimpse<'p>, Damaged> {
        let class = self.cursor.byte()?;
        let class = *Class::ALL.get(usize::from(class)).ok_or(self.cursor.damaged())?;
        let at = self.stamp(self.last)?;
        let seen = self.stamp(at)?;
        self.last = at;
        let id = match self.cursor.byte()? {
            0 => self.text()?.into(),
            kind => {
                let prefix = self.text()?;
                let tid = self.cursor.number()?;
                format!("{prefix}-{:x}-{tid:x}{}", at.boot_ns, char::from(kind)).into()
            }
        };
        let (source, node) = (Name::from(self.text()?), Name::from(self.text()?));
        let mask = self.cursor.byte()?;
        let mut named = |bit: u8| if mask & bit != 0 { self.text().map(|name| Some(name.into())) } else { Ok(None) };
        let logsource = LogSource { category: named(1)?, product: named(2)?, service: named(4)? };
        let subject = match self.cursor.byte()? {
            subject::UNKNOWN => Subject::Unknown,
            subject::PROCESS => Subject::Process(self.process()?),
            subject::PRINCIPAL => Subject::Principal(self.text()?.into()),
            subject::USER => Subject::User(self.text()?.into()),
            _ => return Err(self.cursor.damaged()),
        };
        let block = self.parts(&subject, false)?;
        Ok(Glimpse { head: EventHead { id, class, source, node, at, seen }, logsource, subject, block })
    }

    /// A moment, told as its distances from another.
    fn stamp(&mut self, from: Stamp) -> Result<Stamp, Damaged> {
        let apart = self.cursor.wide()?;
        let boot_ns = from.boot_ns.wrapping_add(unzigzag(self.cursor.number()?).cast_unsigned());
        let wall = offset(from).checked_add(apart).and_then(|offset| offset.checked_add(boot_ns.into()));
        let wall = wall.and_then(|wall| jiff::Timestamp::from_nanosecond(wall).ok());
        Ok(Stamp { wall: wall.ok_or(self.cursor.damaged())?, boot_ns })
    }

    fn process(&mut self) -> Result<ProcessId, Damaged> {
        let (pid, start_ns) = (self.cursor.small()?, self.cursor.number()?);
        Ok(ProcessId { pid, start_ns, exec_id: self.cursor.small()?, boot: BootId(Arc::from(self.text()?)) })
    }

    /// Fields up to the end of an event, or of a block within it.
    fn parts(&mut self, subject: &Subject, in_block: bool) -> Result<Block<'p>, Damaged> {
        let mut block = Block::new();
        loop {
            let part = match self.cursor.byte()? {
                part::END => return Ok(block),
                part::SIGMA => Part::Sigma(self.text()?, self.value(subject, DEPTH)?),
                part::OWN => {
                    let (name, value) = (self.text()?, self.value(subject, DEPTH)?);
                    if name.bytes().filter(|b| *b == b'.').count() > GROUPS {
                        return Err(self.cursor.damaged());
                    }
                    Part::Own(name, value)
                }
                part::WHOLE => Part::Whole(self.text()?, self.value(subject, DEPTH)?),
                part::ENTITY => Part::Entity(self.text()?, self.text()?, self.text()?),
                part::KNOWN if !in_block => {
                    let at = self.cursor.size()?;
                    Part::Block(Arc::clone(self.blocks.get(at).ok_or(self.cursor.damaged())?))
                }
                part::NEW if !in_block && self.blocks.len() < MOST_KNOWN => {
                    let new = Arc::new(self.parts(&Subject::Unknown, true)?);
                    self.blocks.push(Arc::clone(&new));
                    Part::Block(new)
                }
                _ => return Err(self.cursor.damaged()),
            };
            block.push(part);
        }
    }

    fn value(&mut self, of: &Subject, depth: u8) -> Result<Told<'p>, Damaged> {
        Ok(match self.cursor.byte()? {
            value::NULL => Told::Null,
            value::FALSE => Told::Bool(false),
            value::TRUE => Told::Bool(true),
            value::INT => Told::Int(unzigzag(self.cursor.number()?)),
            value::BIG => Told::Big(self.cursor.number()?),
            value::FLOAT => Told::Float(self.cursor.float()?),
            value::TEXT => Told::text(self.text()?),
            value::PROCESS => Told::Process(self.process()?),
            value::MOMENT => Told::Moment(self.cursor.number()?),
            value::SUBJECT => match of {
                Subject::Process(id) => Told::Process(id.clone()),
                _ => return Err(self.cursor.damaged()),
            },
            value::LIST if depth > 0 => {
                let count = self.cursor.size()?;
                // The count is not trusted with memory: a value is a byte at least, and the end is found by reading.
                Told::List((0..count).map(|_| self.value(of, depth - 1)).collect::<Result<_, _>>()?)
            }
            value::MAP if depth > 0 => {
                let count = self.cursor.size()?;
                let mut one = || Ok((Cow::Borrowed(self.text()?), self.value(of, depth - 1)?));
                Told::Map((0..count).map(|_| one()).collect::<Result<_, _>>()?)
            }
            _ => return Err(self.cursor.damaged()),
        })
    }
}

impl<'p> Iterator for Events<'p> {
    type Item = Result<Glimpse<'p>, Damaged>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.broken || self.cursor.is_at_end() {
            return None;
        }
        let read = self.event();
        self.broken = read.is_err();
        Some(read)
    }
}

impl Glimpse<'_> {
    /// Id, class, source, node and times.
    #[must_use]
    pub fn head(&self) -> &EventHead {
        &self.head
    }

    /// Who did it.
    #[must_use]
    pub fn subject(&self) -> &Subject {
        &self.subject
    }

    /// The event, whole.
    #[must_use]
    pub fn into_event(self) -> OwnedEvent {
        let mut gather = Gather::new(self.head.at);
        tell(self.block, &mut gather);
        gather.into_event(self.head, self.logsource, self.subject)
    }
}

fn tell(parts: Vec<Part<'_>>, to: &mut Gather) {
    for part in parts {
        match part {
            Part::Sigma(name, value) => to.sigma(name, value),
            Part::Own(name, value) => to.own(name, value),
            Part::Whole(name, value) => to.whole(name, value),
            Part::Entity(kind, id, node) => to.entity(kind, id, node),
            Part::Block(block) => tell((*block).clone(), to),
        }
    }
}

//! What a message of a ladder would say now, for whoever looks by a link of one.
//!
//! Owns the look. Changes nothing and writes nothing down, however often it is asked.

use super::super::answers::{self, NoticeNow};
use super::super::request::Refusal;
use super::super::shell::Core;
use super::super::unread::Unread;
use crate::escalation::outbox::Outbox;
use quell_model::{Body, Hash, Json, LadderId, StreamId};

impl<W: Send + 'static> Core<W> {
    /// The notice of a ladder as it stands; of one that is over and closed, as it stood at the last.
    pub(super) fn notice_now(&mut self, id: &LadderId, link: Option<&Hash>) -> Result<Json, Refusal> {
        let closed;
        let outbox = match self.ladders.all.get(id) {
            Some(outbox) => outbox,
            None => {
                closed = self.closed_ladder(id)?;
                &closed
            }
        };
        let used = link.is_some_and(|link| outbox.is_used(link));
        Ok(answers::json(NoticeNow { notice: self.notice(outbox), used }))
    }

    fn closed_ladder(&mut self, id: &LadderId) -> Result<Outbox, Refusal> {
        let stream = StreamId::ladder(id);
        let nothing = || Refusal::NotFound { kind: "message", id: id.to_string() };
        if !self.ink.has(&stream) {
            return Err(nothing());
        }
        let records = self.ink.readable(&stream)?.records().map_err(Unread::from)?;
        let Some(Body::LadderStarted(started)) = records.first().map(|record| &record.body) else {
            return Err(nothing());
        };
        let mut outbox = Outbox::begun(started, records[0].at);
        records.iter().for_each(|record| outbox.apply(record.at, &record.body));
        Ok(outbox)
    }
}

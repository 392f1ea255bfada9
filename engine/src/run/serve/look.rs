//! What a message of a ladder would say now, for whoever looks by a link of one.
//!
//! Owns the look at a ladder that is not closed: of one that is, the journal says as much, and the engine's thread reads nothing for
//! whoever looks. Changes nothing and writes nothing down, however often it is asked.

use super::super::answers::{self, NoticeNow};
use super::super::request::Refusal;
use super::super::shell::Core;
use super::press::is_used_for;
use quell_model::notice::Act;
use quell_model::{Hash, Json, LadderId};

impl<W: Send + 'static> Core<W> {
    /// The notice of a ladder as it stands; not found: there is none, or it is over and closed.
    pub(super) fn notice_now(&mut self, id: &LadderId, link: Option<&Hash>) -> Result<Json, Refusal> {
        let outbox = self.ladders.all.get(id);
        let outbox = outbox.ok_or_else(|| Refusal::NotFound { kind: "message", id: id.to_string() })?;
        let notice = self.notice(outbox);
        let is_used = |act: &Act| link.is_some_and(|link| is_used_for(outbox, link, act));
        let used = notice.acts().iter().filter(|act| is_used(act)).map(Act::word).collect();
        Ok(answers::json(NoticeNow { notice, used }))
    }
}

//! The rounds of a drain: look who is left, evict a few of them, wait.
//!
//! Keeps true: only so many terminate at a time; whom a budget holds is asked again after a while, and what it said last is told when the
//! time is over; the API server may be away between two looks.

use super::Order;
use crate::call::{CallError, Calls};
use crate::node;
use crate::verbs::evict_pod::ask_to_end;
use crate::verbs::gone::{may_pass, terminating};
use crate::verbs::patience::Patience;
use crate::verbs::written::Named;
use k8s_openapi::api::core::v1::Pod;
use quell_model::{ActionContext, ActionError, Stamp};
use serde_json::json;
use std::collections::HashMap;
use std::time::Duration;

/// So many are asked to end and not gone yet: what makes them anew elsewhere has to keep up.
const AT_ONCE: usize = 10;
/// Whom a budget holds is asked again after that, or when the server says.
const AGAIN: Duration = Duration::from_secs(5);

/// A drain under way.
pub(super) struct Rounds<'d> {
    calls: &'d Calls<'d>,
    order: &'d Order,
    cx: &'d ActionContext,
    /// By uid: what was said of it last, and when it is asked again.
    held: HashMap<String, (String, Stamp)>,
    /// So many are gone that it was noted.
    noted: usize,
}

impl<'d> Rounds<'d> {
    pub(super) fn of(calls: &'d Calls<'d>, order: &'d Order, cx: &'d ActionContext) -> Self {
        Self { calls, order, cx, held: HashMap::new(), noted: 0 }
    }

    /// Until none of those that were planned is left, or the time is over.
    pub(super) async fn go(mut self) -> Result<(), ActionError> {
        let most = Duration::from_millis(self.order.timeout_ms);
        let mut patience = Patience::of(self.cx).at_most(most);
        let whole = patience.left();
        let mut left = self.order.pods.iter().map(Named::place).collect();
        loop {
            match self.round().await {
                Ok(now) if now.is_empty() => return Ok(()),
                Ok(now) => left = now,
                Err(error) if may_pass(&error) => {}
                Err(error) => return Err(error.into()),
            }
            self.note(self.order.pods.len() - left.len()).await?;
            if !patience.goes_on().await {
                return Err(self.over(&left, whole));
            }
        }
    }

    /// One round; gives those that are left, each with how it stands.
    async fn round(&mut self) -> Result<Vec<String>, CallError> {
        let all = node::pods(self.calls, &self.order.node.name).await?;
        let there: HashMap<String, &Pod> = all.iter().map(|pod| (node::named(pod).uid, pod)).collect();
        let mut going = there.values().filter(|pod| pod.metadata.deletion_timestamp.is_some()).count();
        let mut left = Vec::new();
        for named in &self.order.pods {
            let Some(pod) = there.get(&named.uid) else { continue };
            let place = named.place();
            if let Some(how) = terminating(pod) {
                left.push(format!("{place}: {how}"));
                continue;
            }
            if going < AT_ONCE && !self.cx.stop.is_raised() && self.is_due(named) {
                going += usize::from(self.evict(named).await?);
            }
            let how =
                self.held.get(&named.uid).map_or("it was asked to end, or waits for its turn", |(why, _)| why.as_str());
            left.push(format!("{place}: {how}"));
        }
        Ok(left)
    }

    fn is_due(&self, named: &Named) -> bool {
        self.held.get(&named.uid).is_none_or(|(_, again)| *again <= self.cx.clock.now())
    }

    /// Whether it is going now.
    async fn evict(&mut self, named: &Named) -> Result<bool, CallError> {
        let (why, after) = match ask_to_end(self.calls, named).await {
            Ok(()) => {
                self.held.remove(&named.uid);
                return Ok(true);
            }
            Err(CallError::Wait { why, after }) => (why, after.unwrap_or(AGAIN)),
            // More than one budget is a 500 of the server's, and no budget ends by being asked.
            Err(CallError::Refused(why) | CallError::Conflict(why) | CallError::Unknown(why)) => (why, AGAIN),
            Err(error) => return Err(error),
        };
        self.held.insert(named.uid.clone(), (why, self.cx.clock.now().after(after)));
        Ok(false)
    }

    /// Writes down how far it came, where it came further.
    async fn note(&mut self, gone: usize) -> Result<(), ActionError> {
        if gone <= self.noted {
            return Ok(());
        }
        self.noted = gone;
        self.cx.progress.note(json!({ "gone": gone, "of": self.order.pods.len() })).await
    }

    fn over(&self, left: &[String], whole: Duration) -> ActionError {
        let all = self.order.pods.len();
        let done = all - left.len();
        let ended = if self.cx.stop.is_raised() {
            "it was asked to stop".to_owned()
        } else {
            format!("its {} s are over", whole.as_secs())
        };
        ActionError::GiveUp {
            why: format!("{ended}: {done} of {all} pods are gone; left: {}", super::listed(left)),
            hint: Some(format!("node `{}` takes no new pods until this is taken back", self.order.node.name)),
        }
    }
}

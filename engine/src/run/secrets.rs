//! Secrets of an attempt: named in its input, read in the moment of its act, and kept out of whatever comes back.
//!
//! Owns when they are read, and by whom: only what the journaled input names, right before `run` or `undo`, where it may
//! block. **Invariant:** no value leaves the act's own future, not in an output, an error or the words of a panic.

use super::job::{self, Answer, Where};
use super::shell::Core;
use crate::load::SecretFrom;
use crate::playbook::secret;
use crate::playbook::{ExpressionError, Scope};
use futures_util::future::FutureExt;
use quell_model::action::ActionContext;
use quell_model::record::Part;
use quell_model::{ActionError, ActionSpec, Crew, Json, Name, RunId, Secrets};
use std::cell::Cell;
use std::collections::HashMap;
use std::future::{Future, poll_fn};
use std::panic::AssertUnwindSafe;
use std::pin::pin;

thread_local! {
    /// Code that was given a secret runs on this thread.
    static AT_HAND: Cell<bool> = const { Cell::new(false) };
}

/// From now on a panic of code that was given a secret is told by its place alone: what it says may hold the value, and the
/// words of a panic are printed before anybody can hide something in them. Once in a process, at its start.
pub fn hush_panics() {
    let others = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| match panic.location() {
        _ if !AT_HAND.get() => others(panic),
        Some(place) => {
            tracing::error!(file = place.file(), line = place.line(), "code that was given a secret panicked")
        }
        None => tracing::error!("code that was given a secret panicked"),
    }));
}

/// The input schemas of actions that take secrets; made once, since a schema takes its time.
#[derive(Debug)]
pub(super) struct SecretInputs(HashMap<&'static str, Json>);

impl SecretInputs {
    pub(super) fn of<W>(crew: &Crew<W>) -> Self {
        Self(crew.specs().filter_map(|spec| Some((spec.name, secret::schema_of(spec)?))).collect())
    }
}

/// What an attempt needs, and where it is: nothing for most.
#[derive(Debug, Default)]
pub(super) struct Needed(Vec<(Name, SecretFrom)>);

impl<W: Send + 'static> Core<W> {
    /// The input of an action's step, with references where it takes secrets.
    pub(super) fn input(&self, action: &str, with: &Json, scope: &Scope<'_>) -> Result<Json, ExpressionError> {
        match self.secret_inputs.0.get(action) {
            Some(schema) => self.expressions.render_input(with, schema, scope),
            None => self.expressions.render(with, scope),
        }
    }

    /// The secrets that the input of what is under way names.
    pub(super) fn secrets_of(&self, id: &RunId, part: &Part, spec: &ActionSpec) -> Needed {
        let Some(schema) = self.secret_inputs.0.get(spec.name) else { return Needed::default() };
        let under_way = self.runs.get(id).and_then(|live| live.under_way.get(part));
        let names = under_way.map(|under_way| secret::references(&under_way.input, schema)).unwrap_or_default();
        let from = |name: Name| {
            let missing = || SecretFrom::Nowhere("quell.yaml has no secret of that name".to_owned());
            let from = self.definitions.secrets.get(&name).cloned().unwrap_or_else(missing);
            (name, from)
        };
        Needed(names.into_iter().map(from).collect())
    }
}

impl Needed {
    /// Where the act may wait: the reading of a file is waited for beside.
    pub(super) fn place(&self, place: Where) -> Where {
        if self.0.is_empty() { place } else { Where::Beside }
    }

    fn read(&self) -> Result<Secrets, ActionError> {
        let read = |(name, from): &(Name, SecretFrom)| match from.read() {
            Ok(secret) => Ok((name.clone(), secret)),
            Err(why) => Err(ActionError::retry(format!("the secret `{name}` cannot be read: {why}"))),
        };
        self.0.iter().map(read).collect()
    }

    /// Does `act` with them; whatever it gives is freed of them. The error is a panic's.
    pub(super) async fn given(
        &self,
        cx: ActionContext,
        act: impl AsyncFnOnce(ActionContext) -> Result<Json, ActionError>,
    ) -> Result<Result<Json, ActionError>, Answer> {
        if self.0.is_empty() {
            return Ok(act(cx).await);
        }
        let secrets = match self.read() {
            Ok(secrets) => secrets,
            Err(error) => return Ok(Err(error)),
        };
        let cx = ActionContext { secrets: secrets.clone(), ..cx };
        let mut act = pin!(AssertUnwindSafe(act(cx)).catch_unwind());
        let at_hand = poll_fn(|context| {
            AT_HAND.set(true);
            let done = act.as_mut().poll(context);
            AT_HAND.set(false);
            done
        });
        match at_hand.await {
            Ok(done) => Ok(done.map(|output| secrets.hide_in(output)).map_err(|error| secrets.hide_error(error))),
            Err(why) => Err(job::died(secrets.hide(&job::words(&*why)))),
        }
    }
}

//! One request of an API server → one detection a rule, in however many stages it is told.
//!
//! Kubernetes' audit tells a request that lasts (an exec, a watch) when it begins and again when it ends. Owns which requests have matched
//! which rules. Keeps true: what is one request is told by what the server itself says of it, its moment to the microsecond among that,
//! since the `auditID` is whoever's who asks; and what is forgotten is told once more, never left out.

use quell_model::{Event, Field, Hash, LogSource, Name};
use std::collections::{HashSet, VecDeque};

/// What is remembered of requests that go on. More only when so many last at once; then the end of the earliest is told as well.
const OPEN: usize = if cfg!(test) { 4 } else { 32_768 };
/// And of those that have ended: a batch in which the end comes first is not far behind.
const ENDED: usize = if cfg!(test) { 4 } else { 4_096 };

/// A request that an event tells of.
pub(super) struct Request {
    /// Names it, whatever the stage.
    pub(super) key: Hash,
    is_over: bool,
}

impl Request {
    /// None: the event is no stage of a request.
    pub(super) fn of(event: &dyn Event) -> Option<Self> {
        let LogSource { product, service, .. } = event.logsource();
        let is = |name: &Option<Name>, word: &str| name.as_ref().is_some_and(|name| name.as_str() == word);
        if !is(product, "kubernetes") || !is(service, "audit") {
            return None;
        }
        let text = |field: &str| match event.sigma(field) {
            Some(Field::Str(text)) => Some(text.into_owned()),
            _ => None,
        };
        let stage = text("stage")?;
        let always = [text("auditID")?, text("requestReceivedTimestamp")?];
        let others = ["user.username", "verb", "requestURI"].map(|field| text(field).unwrap_or_default());
        let mut parts = vec![event.head().source.as_str().as_bytes()];
        parts.extend(always.iter().chain(&others).map(String::as_bytes));
        let is_over = !matches!(stage.as_str(), "RequestReceived" | "ResponseStarted");
        Some(Self { key: Hash::of_parts(&parts), is_over })
    }
}

/// The latest of some.
#[derive(Default)]
struct Latest {
    set: HashSet<Hash>,
    order: VecDeque<Hash>,
}

impl Latest {
    fn keep(&mut self, key: Hash, most: usize) {
        if self.order.len() >= most
            && let Some(oldest) = self.order.pop_front()
        {
            self.set.remove(&oldest);
        }
        self.set.insert(key);
        self.order.push_back(key);
    }
}

/// Which requests have matched which rules.
#[derive(Default)]
pub(super) struct Told {
    open: Latest,
    ended: Latest,
}

impl Told {
    /// Whether another stage of it has matched this rule; from now on one has.
    pub(super) fn before(&mut self, rule: &str, request: &Request) -> bool {
        let key = Hash::of_parts(&[rule.as_bytes(), &request.key.0]);
        if self.open.set.contains(&key) || self.ended.set.contains(&key) {
            return true;
        }
        if request.is_over {
            self.ended.keep(key, ENDED)
        } else {
            self.open.keep(key, OPEN)
        }
        false
    }
}

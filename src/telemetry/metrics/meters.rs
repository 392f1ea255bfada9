//! What is counted between two scrapes: requests to the API, and parts that did not answer.

use super::look::Look;
use super::page::Page;
use super::{Part, table};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

/// Routes, methods and answers that are told apart: there are fewer than this; a client can bring methods of its own.
const MOST: usize = 1_000;

/// A method, a route as it is declared, a status.
type Request = (String, String, u16);

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Meters {
    requests: Mutex<BTreeMap<Request, u64>>,
    errors: [AtomicU64; Part::ALL.len()],
    looks: [Look; Part::ALL.len()],
    /// Of the traces that are sent.
    pub(crate) traces: TraceMeter,
}

/// What is counted of the traces that are sent.
#[derive(Debug, Default)]
pub(crate) struct TraceMeter {
    follows: AtomicBool,
    takes: AtomicBool,
    sent: AtomicU64,
    refused: AtomicU64,
    unreadable: AtomicU64,
    at: AtomicI64,
}

#[cfg_attr(not(feature = "otlp"), allow(dead_code, reason = "only what sends traces counts them"))]
impl TraceMeter {
    /// Runs are followed from now on.
    pub(crate) fn follows(&self) {
        self.follows.store(true, Ordering::Relaxed);
    }

    /// Whether the collector takes what it is sent.
    pub(crate) fn takes(&self, takes: bool) {
        self.takes.store(takes, Ordering::Relaxed);
    }

    /// A run was sent, or refused for good.
    pub(crate) fn sent(&self, taken: bool) {
        if taken { &self.sent } else { &self.refused }.fetch_add(1, Ordering::Relaxed);
    }

    /// A run cannot be read.
    pub(crate) fn unreadable(&self) {
        self.unreadable.fetch_add(1, Ordering::Relaxed);
    }

    /// Up to which row of the journal all is dealt with.
    pub(crate) fn at(&self, row: i64) {
        self.at.store(row, Ordering::Relaxed);
    }

    /// `head`: the journal's last row.
    fn tell(&self, page: &mut Page, head: i64) {
        if !self.follows.load(Ordering::Relaxed) {
            return;
        }
        page.flag(table::TRACES_UP, &[], self.takes.load(Ordering::Relaxed));
        page.count(table::TRACES, &["sent"], self.sent.load(Ordering::Relaxed));
        page.count(table::TRACES, &["refused"], self.refused.load(Ordering::Relaxed));
        page.count(table::TRACES, &["unreadable"], self.unreadable.load(Ordering::Relaxed));
        let behind = head.saturating_sub(self.at.load(Ordering::Relaxed)).max(0);
        page.count(table::TRACES_BEHIND, &[], behind.cast_unsigned());
    }
}

impl Meters {
    /// A request was answered.
    pub(crate) fn answered(&self, method: &str, route: &str, status: u16) {
        let mut requests = self.requests.lock().unwrap_or_else(PoisonError::into_inner);
        let request = (method.to_owned(), route.to_owned(), status);
        if requests.len() < MOST || requests.contains_key(&request) {
            *requests.entry(request).or_default() += 1;
        }
    }

    /// Looks at a part.
    pub(super) async fn look<T: Send + 'static>(
        &self,
        part: Part,
        work: impl Future<Output = Option<T>> + Send + 'static,
    ) -> Option<T> {
        let found = self.looks[part as usize].at(work).await;
        self.count(part, found)
    }

    /// Looks at a part that blocks.
    pub(super) async fn look_beside<T: Send + 'static>(
        &self,
        part: Part,
        work: impl FnOnce() -> Option<T> + Send + 'static,
    ) -> Option<T> {
        let found = self.looks[part as usize].beside(work).await;
        self.count(part, found)
    }

    fn count<T>(&self, part: Part, found: Option<T>) -> Option<T> {
        if found.is_none() {
            self.errors[part as usize].fetch_add(1, Ordering::Relaxed);
        }
        found
    }

    /// Puts it on the page; `head`: the journal's last row.
    pub(super) fn tell(&self, page: &mut Page, head: i64) {
        for ((method, route, status), count) in &*self.requests.lock().unwrap_or_else(PoisonError::into_inner) {
            page.count(table::API_REQUESTS, &[method, route, &status.to_string()], *count);
        }
        for (part, errors) in Part::ALL.into_iter().zip(&self.errors) {
            page.count(table::SCRAPE_ERRORS, &[part.as_str()], errors.load(Ordering::Relaxed));
        }
        self.traces.tell(page, head);
    }
}

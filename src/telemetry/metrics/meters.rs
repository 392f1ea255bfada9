//! What is counted between two scrapes: requests to the API, and parts that did not answer.

use super::look::Look;
use super::page::Page;
use super::{Part, table};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
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

    /// Puts it on the page.
    pub(super) fn tell(&self, page: &mut Page) {
        for ((method, route, status), count) in &*self.requests.lock().unwrap_or_else(PoisonError::into_inner) {
            page.count(table::API_REQUESTS, &[method, route, &status.to_string()], *count);
        }
        for (part, errors) in Part::ALL.into_iter().zip(&self.errors) {
            page.count(table::SCRAPE_ERRORS, &[part.as_str()], errors.load(Ordering::Relaxed));
        }
    }
}

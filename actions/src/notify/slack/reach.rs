//! The connection to Slack, within a bound of its own.
//!
//! Owns the bound alone: the name, TCP and TLS together. Keeps true: who has not taken a connection by then was sent nothing.

use std::error::Error;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::time::timeout;
use tower_service::Service;

/// See the module.
#[derive(Clone)]
pub(super) struct Within<C> {
    pub(super) bound: Duration,
    pub(super) connects: C,
}

type Wrong = Box<dyn Error + Send + Sync>;

impl<C, To> Service<To> for Within<C>
where
    C: Service<To>,
    C::Future: Send + 'static,
    C::Error: Into<Wrong>,
{
    type Response = C::Response;
    type Error = Wrong;
    type Future = Pin<Box<dyn Future<Output = Result<C::Response, Wrong>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Wrong>> {
        self.connects.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, to: To) -> Self::Future {
        let (bound, connecting) = (self.bound, self.connects.call(to));
        Box::pin(async move {
            match timeout(bound, connecting).await {
                Ok(connected) => connected.map_err(Into::into),
                Err(_) => Err(format!("no connection within {bound:?}").into()),
            }
        })
    }
}

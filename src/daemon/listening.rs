//! The API's way over TCP: listened for as soon as its address can be had.
//!
//! Owns the trying. Invariant: an address that is not there yet, or a port that somebody else has, keeps nothing on this host from being
//! answered; `status` says why nobody comes in that way until then.

use super::{Desk, LOOK, with_source};
use crate::api;
use quell_engine::load::Listen;
use std::sync::Arc;
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval};

/// Serves there until the end, tried every second until it can be.
pub(super) async fn serve(listen: Listen, app: api::App, desk: Arc<Desk>, mut ended: watch::Receiver<bool>) {
    let mut again = interval(LOOK);
    again.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let tcp = loop {
        tokio::select! {
            _ = again.tick() => {}
            // Whoever says so may have gone, which is an end too.
            _ = ended.wait_for(|end| *end) => return,
        }
        match api::listen("`access.listen`", listen.address, listen.tls.as_ref()).await {
            Ok(tcp) => break tcp,
            Err(error) => {
                let why = with_source(&error);
                if desk.listens_not(Some(why.clone())) {
                    tracing::error!(why, "nobody comes in over TCP; it is tried again until somebody can");
                }
            }
        }
    };
    desk.listens_not(None);
    if let Some(address) = tcp.address() {
        tracing::info!(%address, "the API listens on TCP");
    }
    api::serve(tcp, api::open(app), ended).await;
}

//! Webhooks: each listened for as soon as its address can be had.
//!
//! Owns the trying, and where their tokens are. Invariant: an address that is not there yet, or a port that somebody else has, keeps
//! nothing else from being answered; `status` says why nobody can bring anything there until then. A webhook that asked for a token
//! when quell started never comes to ask for none.

use super::assembly::WebhookDoor;
use super::{Assembly, Desk, LOOK, SourceMeter, with_source};
use crate::api;
use crate::api::webhook::{Front, Keys, Room};
use quell_engine::load::{Config, WebhookSource};
use quell_engine::store::Aside;
use std::path::Path;
use std::sync::Arc;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};

/// Serves all of them until the end.
pub(super) fn follow(
    assembly: &Assembly,
    desk: &Desk,
    dir: &Path,
    tasks: &mut JoinSet<()>,
    ended: &watch::Receiver<bool>,
) {
    for WebhookDoor { webhook, deliveries, meter } in &assembly.webhooks {
        let source = webhook.source();
        let aside = Aside::of(dir, &source);
        let room = Room::one_of(assembly.webhooks.len());
        let front =
            Front::new((source, webhook.format), desk.keys(), deliveries.clone(), (Arc::clone(meter), room), aside);
        tasks.spawn(serve(webhook.clone(), Arc::new(front), Arc::clone(meter), ended.clone()));
    }
}

async fn serve(webhook: WebhookSource, front: Arc<Front>, meter: Arc<SourceMeter>, mut ended: watch::Receiver<bool>) {
    let what = format!("the webhook `{}`", webhook.name);
    let mut again = interval(LOOK);
    again.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let listener = loop {
        tokio::select! {
            _ = again.tick() => {}
            // Whoever says so may have gone, which is an end too.
            _ = ended.wait_for(|end| *end) => return,
        }
        match api::listen(&what, webhook.address, webhook.tls.as_ref()).await {
            Ok(listener) => break listener,
            Err(error) => {
                let why = with_source(&error);
                if meter.listens_not(why.clone()) {
                    tracing::error!(why, "nobody can bring events there; it is tried again until somebody can");
                }
            }
        }
    };
    let address = listener.address();
    meter.listens(address);
    if let Some(address) = address {
        tracing::info!(%address, tls = webhook.tls.is_some(), "{what} is listened for");
    }
    api::serve(listener, api::webhook::router(front), ended).await;
}

/// Where the tokens of the webhooks of the start are, by what quell.yaml says now. Where it names none for one that had one, and where
/// it has no such secret, what it was at the start holds.
pub(super) fn keys(then: &Config, now: &Config) -> Keys {
    let key = |webhook: &WebhookSource| {
        let same = now.sources.webhooks.iter().find(|other| other.name == webhook.name);
        let named = same.and_then(|same| same.token.as_ref()).or(webhook.token.as_ref());
        let from = named.and_then(|name| now.secrets.get(name).or_else(|| then.secrets.get(name)));
        (webhook.source(), from.cloned())
    };
    then.sources.webhooks.iter().map(key).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use quell_engine::load::{SecretFrom, config};

    fn of(secrets: &str, webhooks: &str) -> Config {
        let text = format!("secrets: {{ {secrets} }}\nsources: {{ webhooks: [{webhooks}] }}\n");
        let (config, mistakes) = config(Path::new("/etc/quell/quell.yaml"), &text);
        config.unwrap_or_else(|| panic!("{mistakes:?}"))
    }

    #[test]
    fn a_token_is_followed_and_never_falls_away() {
        let webhook = |token: &str| format!("{{ name: a, format: kubernetes-audit, address: 127.0.0.1:0{token} }}");
        let then = of("one: { env: ONE }", &webhook(", token: { secret: one }"));
        let env = |name: &str| Some(SecretFrom::Env(name.to_owned()));
        for (now, key) in [
            (then.clone(), env("ONE")),
            (of("one: { env: OTHER }", &webhook(", token: { secret: one }")), env("OTHER")),
            (of("two: { env: TWO }", &webhook(", token: { secret: two }")), env("TWO")),
            (of("two: { env: TWO }", &webhook("")), env("ONE")),
            (of("two: { env: TWO }", ""), env("ONE")),
        ] {
            assert_eq!(keys(&then, &now), Keys::from([("webhook:a".into(), key)]));
        }
        let open = of("one: { env: ONE }", &webhook(""));
        assert_eq!(keys(&open, &open), Keys::from([("webhook:a".into(), None)]));
        assert_eq!(keys(&open, &then), Keys::from([("webhook:a".into(), env("ONE"))]), "it may come to ask for one");
    }
}

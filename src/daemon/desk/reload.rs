//! Reading the files again and putting them in force, and noticing that they have changed.
//!
//! Invariant: a reload is whole or not at all. With a mistake the former definitions hold, and the refusal is shown until one
//! succeeds. What a running daemon cannot follow stays what it was at the start, and with it whom that makes trusted.

use super::{ANSWER, Desk};
use crate::api::Access;
use crate::daemon::files::{self, Loaded};
use crate::daemon::handover::Change;
use crate::daemon::{sources, webhooks};
use quell_engine::clock::SystemClock;
use quell_engine::load::config::Sources;
use quell_engine::load::{Config, Kubernetes, Tls};
use quell_engine::source::Snapshot;
use quell_model::{Clock, Name};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What is looked at for changes.
const ENDINGS: &[&str] = &["yml", "yaml", "rhai"];

impl Desk {
    /// Whether a file that was loaded, or could be, has changed since the last look. Blocks as long as the slowest of the disks
    /// that they are on.
    pub(crate) fn files_changed(&self) -> bool {
        let watched = self.facts().watched.clone();
        let now = look(&watched);
        let mut facts = self.facts();
        // Of other files nothing can be said: a reload came in between, and noted what it read.
        if facts.watched != watched {
            return false;
        }
        let changed = now != facts.seen;
        facts.seen = now;
        changed
    }

    /// Reads everything again and puts it in force, or says why not. Whoever asked may go: it is carried through.
    pub(crate) async fn reload(self: &Arc<Self>) -> Result<Vec<String>, String> {
        let Ok(place) = Arc::clone(&self.reloads).try_acquire_owned() else {
            return Err("one is under way, and another waits for it, which reads the files as they are then".to_owned());
        };
        let desk = Arc::clone(self);
        // Half of it would be rules that hold and a status that does not know of them.
        let through = tokio::spawn(async move {
            let done = desk.reload_through().await;
            drop(place);
            done
        });
        through.await.map_err(|e| e.to_string())?
    }

    async fn reload_through(&self) -> Result<Vec<String>, String> {
        let _one = self.reloading.lock().await;
        let (given, watched) = (self.given.clone(), self.facts().watched.clone());
        let read = tokio::task::spawn_blocking(move || {
            // Before they are read: what is saved meanwhile is a change at the next look, and so is a list of files that is another now.
            let before = look(&watched);
            (before, files::load_to_act(&given))
        });
        let (before, mut loaded) = read.await.map_err(|e| e.to_string())?;
        loaded.mistakes.extend(files::nobody_left(&self.facts().definitions.people, &loaded));
        let has_mistakes = loaded.has_errors();
        let done = self.put_in_force(loaded).await;
        let mut facts = self.facts();
        facts.seen = before;
        match &done {
            Ok(_) => (facts.reloads.0, facts.reloaded) = (facts.reloads.0 + 1, Some(SystemClock.now())),
            Err(_) if has_mistakes => facts.reloads.1 += 1,
            Err(why) => {
                tracing::error!(why, "not reloaded; it is tried again at the next look");
                (facts.reloads.1, facts.reload_refused) = (facts.reloads.1 + 1, Some(why.clone()));
                facts.seen = look(&[]);
            }
        }
        done
    }

    async fn put_in_force(&self, mut loaded: Loaded) -> Result<Vec<String>, String> {
        if loaded.has_errors() {
            return Err(self.refuse(&loaded));
        }
        let mut said = Vec::new();
        let (to_hand, then) = {
            let facts = self.facts();
            (facts.to_hand.clone(), facts.config.clone())
        };
        for key in needs_restart(&then, &loaded.config) {
            tracing::warn!(key, "`{key}` was changed and needs a restart: what it was at the start holds");
            said.push(format!("`{key}` needs a restart"));
        }
        // The files and webhooks of the start are followed on, whatever is written of them since.
        loaded.definitions.untrusted = sources::untrusted(&then.sources);
        if let Some(to_hand) = to_hand {
            let (definitions, ways) = loaded.in_force(&self.marks);
            let (rules, definitions) = (Arc::clone(&loaded.rules), Box::new(definitions));
            // Before the playbooks that may need them.
            let former = self.ways.replace(ways);
            self.kube.put(&loaded.config);
            if let Err(why) = to_hand.put(Change { rules, definitions }, ANSWER).await {
                self.ways.replace(former);
                self.kube.put(&self.facts().config);
                return Err(why.to_string());
            }
            self.pods.put(&loaded.config);
        }
        let mut facts = self.facts();
        facts.rules = Arc::clone(&loaded.rules);
        facts.rules_skipped = loaded.rules_skipped;
        facts.watched.clone_from(&loaded.files);
        facts.config.retention = loaded.config.retention;
        facts.config.kubernetes =
            Kubernetes { cluster: then.kubernetes.cluster.clone(), ..loaded.config.kubernetes.clone() };
        facts.config.guard.only_within.clone_from(&loaded.config.guard.only_within);
        facts.reload_refused = None;
        #[cfg(feature = "slack")]
        self.inward.put(&loaded);
        self.access.send_replace(Arc::new(Access::of(&loaded)));
        self.keys.send_replace(Arc::new(webhooks::keys(&then, &loaded.config)));
        tracing::info!(playbooks = loaded.definitions.playbooks.len(), rules = loaded.rules.len(), "reloaded");
        facts.definitions = loaded.definitions;
        facts.beat = loaded.escalation.channels.beat;
        Ok(said)
    }

    fn refuse(&self, loaded: &Loaded) -> String {
        let errors: Vec<String> = loaded.errors().map(|m| format!("{}: {}", m.place(), m.what)).collect();
        for mistake in loaded.errors() {
            tracing::error!(place = mistake.place(), "not reloaded, the former definitions hold: {}", mistake.what);
        }
        let first = errors.first().cloned().unwrap_or_default();
        let why = if errors.len() > 1 { format!("{first} (and {} more)", errors.len() - 1) } else { first };
        self.facts().reload_refused = Some(why.clone());
        why
    }
}

/// How the files stand.
pub(super) fn look(watched: &[PathBuf]) -> Snapshot {
    let paths: Vec<&Path> = watched.iter().map(PathBuf::as_path).collect();
    Snapshot::of(&paths, ENDINGS)
}

/// Keys that were changed and that a running daemon cannot follow.
fn needs_restart(then: &Config, now: &Config) -> Vec<&'static str> {
    [
        ("data_dir", then.data_dir != now.data_dir),
        ("sources", where_from(then) != where_from(now)),
        ("kubernetes.cluster", then.kubernetes.cluster != now.kubernetes.cluster),
        ("recorder", then.recorder != now.recorder),
        ("access.socket.group", then.socket_group != now.socket_group),
        ("access.listen", where_listened(then) != where_listened(now)),
        ("log", then.log != now.log),
        ("telemetry", then.telemetry != now.telemetry),
    ]
    .into_iter()
    .filter_map(|(key, changed)| changed.then_some(key))
    .collect()
}

/// Which secret is a webhook's token is followed while it runs; whether it has one at all is not.
fn where_from(config: &Config) -> Sources {
    let mut sources = config.sources.clone();
    sources.webhooks.iter_mut().for_each(|webhook| webhook.token = webhook.token.as_ref().map(|_| Name::from("")));
    sources
}

/// Tokens are followed while it runs; where it listens, and with which files, is not.
fn where_listened(config: &Config) -> Option<(std::net::SocketAddr, Option<&Tls>)> {
    config.listen.as_ref().map(|listen| (listen.address, listen.tls.as_ref()))
}

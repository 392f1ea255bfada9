//! Who the pods of this node are, as the cluster tells it, for whoever sees their processes.
//!
//! Owns the watch and what it knows. Only reads. Keeps true: what was known stays known while the cluster is away, and it is said since when
//! it may be out of date; nobody who looks a pod up waits for the cluster. Whoever leads quell to another cluster leads the watch there, and
//! nothing stays known of the former's pods.
//!
//! ```text
//! API server ──list, watch──▶ watch ──▶ seen: what is kept of a pod ──▶ kept: who is there, who was ──▶ quell_model::Pods
//!                  ▲                                                                                     ▲  │
//!                  │                                                                  this node's files ───┘  │
//!                  ├── away: what was known stays; again after 1 s, 2 s … 30 s     the sensor, verbs ◀────────┤
//!                  └── what makes them, and how many it wants: once a minute ──▶ makers ──▶ near ─────────────┘
//! ```

mod kept;
mod known;
mod makers;
mod near;
mod on_node;
mod seen;
mod standing;
mod told;
mod watch;

pub(crate) use known::Known;
pub(crate) use near::Near;
pub(crate) use standing::Standing;
pub use told::PodsStatus;
pub use watch::PERMISSIONS;

use crate::call::CallError;
use crate::cluster::Cluster;
use crate::owner::Owners;
use crate::verbs::isolate_pod;
use futures_util::stream::{FuturesUnordered, StreamExt};
use kept::Kept;
use kube::core::WatchEvent;
use quell_model::Name;
use seen::Seen;
use standing::AllStanding;
use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::watch as tokio_watch;
use told::Told;
use watch::{BATCH, Ended, SILENT};

/// From one try to the next, at first.
const AGAIN: Duration = Duration::from_secs(1);
/// And at the most.
const AGAIN_AT_MOST: Duration = Duration::from_secs(30);
/// A watch that ended sooner than this is followed by the next only then: a server that ends each at once is not asked in a loop.
const LEAST: Duration = Duration::from_secs(1);
/// Now and then those that are gone are looked at, and whether an owner is to be asked of again.
const CARE: Duration = Duration::from_secs(15);
/// Owners that are asked of at the same time.
const ASKED_AT_ONCE: usize = 8;

/// The watch of this node's pods.
#[derive(Debug)]
pub struct PodWatch {
    cluster: Arc<Cluster>,
    /// What this node is called in the cluster; none: as the machine is, if there is such a node.
    node: tokio_watch::Sender<Option<String>>,
    /// What the machine is called.
    host: Name,
    /// The host's root, where the kubelet's files are to be seen.
    root: Option<PathBuf>,
    told: Told,
}

impl PodWatch {
    /// A watch that has not begun; from now on whoever looks for a pod of this node waits for what it will tell, if it is said where the cluster
    /// is. `node` is what the cluster calls this node, `host` what the machine calls itself.
    #[must_use]
    pub fn new(cluster: Arc<Cluster>, node: Option<String>, host: Name) -> Self {
        cluster.known.is_watched(cluster.told().is_ok());
        let node = tokio_watch::Sender::new(node.filter(|name| !name.is_empty()));
        Self { cluster, node, host, root: None, told: Told::default() }
    }

    /// The same, which looks at the kubelet's files below this root, now and while the cluster is away. Blocks as long as the disk does.
    #[must_use]
    pub fn on_host(self, root: PathBuf) -> Self {
        self.cluster.pods().note_places(on_node::read(&root).into_iter());
        Self { root: Some(root), ..self }
    }

    /// What the cluster calls this node from now on.
    pub fn put_node(&self, node: Option<String>) {
        let node = node.filter(|name| !name.is_empty());
        self.node.send_if_modified(|then| {
            let is_new = *then != node;
            *then = node;
            is_new
        });
    }

    /// How it stands.
    #[must_use]
    pub fn status(&self) -> PodsStatus {
        self.told.status()
    }

    /// Watches until it is dropped, wherever the cluster is led. To be run once. Cancel-safe.
    pub async fn follow(&self) {
        let (mut place, mut node) = (self.cluster.places(), self.node.subscribe());
        loop {
            place.borrow_and_update();
            let called = node.borrow_and_update().clone();
            let is_told = self.cluster.told().is_ok();
            self.cluster.known.is_watched(is_told);
            let there = async { if is_told { self.follow_there(called).await } else { self.follow_nowhere().await } };
            tokio::select! {
                () = there => {}
                _ = place.changed() => tracing::info!("the cluster is another one: its pods of this node are watched anew"),
                _ = node.changed() => tracing::info!("this node is called otherwise: its pods are watched anew"),
            }
            self.told.begin_anew();
            self.cluster.known.put_live(false);
            self.cluster.pods().replace(std::iter::empty());
            self.cluster.known.changed();
        }
    }

    /// What this node's own files say, where nobody says where a cluster is.
    async fn follow_nowhere(&self) {
        loop {
            tokio::time::sleep(AGAIN_AT_MOST).await;
            self.look_around().await;
        }
    }

    /// Where pods live, as this node's own files say it.
    async fn look_around(&self) {
        let Some(root) = self.root.clone() else { return };
        match tokio::task::spawn_blocking(move || on_node::read(&root)).await {
            Ok(places) => self.cluster.pods().note_places(places.into_iter()),
            Err(error) => tracing::debug!(%error, "the kubelet's files were not read"),
        }
    }

    async fn follow_there(&self, called: Option<String>) {
        let (mut kept, mut version, mut again) = (Kept::default(), None, AGAIN);
        let mut name = None;
        loop {
            let begun = Instant::now();
            let ended = match self.begin(called.as_deref(), &mut name, &mut version, &mut kept).await {
                Ok((node, from)) => self.watch(&node, from, &mut version, &mut kept).await,
                Err(error) => Ended::Wrong(error),
            };
            // Between two watches nothing is told of those that are gone.
            kept.forget(Instant::now());
            self.publish(&mut kept);
            match ended {
                Ended::InTime => {
                    again = AGAIN;
                    tokio::time::sleep(LEAST.saturating_sub(begun.elapsed())).await;
                }
                Ended::TooOld => {
                    version = None;
                    tokio::time::sleep(LEAST.saturating_sub(begun.elapsed())).await;
                }
                Ended::Wrong(error) => {
                    if self.told.is_live() {
                        again = AGAIN;
                    }
                    self.told.away(&error);
                    self.cluster.known.put_live(false);
                    self.look_around().await;
                    tokio::time::sleep(again).await;
                    again = (again * 2).min(AGAIN_AT_MOST);
                }
            }
        }
    }

    /// What is there: this node's name, and from which version on it is to be watched.
    async fn begin(
        &self,
        called: Option<&str>,
        name: &mut Option<String>,
        version: &mut Option<String>,
        kept: &mut Kept,
    ) -> Result<(String, String), CallError> {
        let node = match name {
            Some(node) => node.clone(),
            None => name.insert(self.node_name(called).await?).clone(),
        };
        if let Some(version) = version {
            return Ok((node, version.clone()));
        }
        let mut named = HashSet::new();
        kept.left_out = 0;
        let standing = &self.cluster.known.standing;
        let take = &mut |seen: Seen| {
            named.insert(seen.metadata.uid.clone());
            standing.take(&seen, kept::MOST);
            kept.take(seen.kept());
        };
        let from = watch::list(&self.cluster, &node, take).await?;
        kept.only(&named, Instant::now());
        standing.only(&named);
        self.publish(kept);
        Ok((node, version.insert(from).clone()))
    }

    async fn node_name(&self, called: Option<&str>) -> Result<String, CallError> {
        let host = self.host.as_str();
        let node = match called {
            Some(node) => node.to_owned(),
            None => {
                // Of a node that is not there nothing would ever be told, and nobody would wonder.
                let found = self.cluster.has_node(host).await;
                let why = match found {
                    Ok(true) => None,
                    Ok(false) => Some(format!("the cluster has no node `{host}`")),
                    Err(CallError::Forbidden { why, .. }) => {
                        Some(format!("whether the cluster has a node `{host}` cannot be asked ({why})"))
                    }
                    Err(error) => return Err(error),
                };
                match why {
                    None => host.to_owned(),
                    Some(why) => {
                        let why = format!(
                            "{why}: what it calls this one `kubernetes.node` in quell.yaml says, or NODE_NAME by the downward API"
                        );
                        return Err(CallError::NotToldYet(why));
                    }
                }
            }
        };
        self.told.node(&node);
        Ok(node)
    }

    async fn watch(&self, node: &str, from: String, version: &mut Option<String>, kept: &mut Kept) -> Ended {
        let stream = match watch::watch(&self.cluster, node, &from).await {
            Ok(stream) => stream,
            Err(ended) => return ended,
        };
        self.told.live();
        let known = &self.cluster.known;
        known.put_live(true);
        let (mut stream, mut heard) = (stream.ready_chunks(BATCH), Instant::now());
        let mut care = tokio::time::interval(CARE);
        let (mut asked, mut counted) = (FuturesUnordered::new(), FuturesUnordered::new());
        // It is counted for that verb alone, by its rights.
        let calls = self.cluster.calls(&isolate_pod::SPEC);
        loop {
            for made in kept.asks(ASKED_AT_ONCE.saturating_sub(asked.len()), Instant::now()) {
                let cluster = &self.cluster;
                asked.push(async move { (watch::top(cluster, &made).await, made) });
            }
            let there = known.standing.makers();
            for maker in known.makers.asks(&there, ASKED_AT_ONCE.saturating_sub(counted.len()), Instant::now()) {
                let (namespace, by) = (maker.namespace.to_string(), maker.by.clone());
                counted.push(async move { (Owners::behind(&calls, Some(&namespace), by).await, maker) });
            }
            tokio::select! {
                batch = stream.next() => {
                    let Some(batch) = batch else { return Ended::InTime };
                    heard = Instant::now();
                    for event in batch {
                        if let Err(ended) = take(event, version, kept, &known.standing) {
                            return ended;
                        }
                    }
                    self.publish(kept);
                }
                Some((answer, made)) = asked.next() => match answer {
                    Ok(whose) => {
                        kept.answered(&made, whose, Instant::now());
                        self.publish(kept);
                    }
                    Err(error) => {
                        tracing::debug!(%error, kind = made.by.kind, name = made.by.name, "whose it is could not be asked");
                    }
                },
                Some((answer, maker)) = counted.next() => match answer {
                    Ok(owners) => known.makers.answered(&maker, owners, there.get(&maker).copied().unwrap_or_default()),
                    Err(error) => tracing::debug!(%error, owner = %maker.by, "how many there are could not be asked"),
                },
                _ = care.tick() => {
                    if heard.elapsed() > SILENT {
                        return Ended::Wrong(CallError::Away(format!("it said nothing for {} s", SILENT.as_secs())));
                    }
                    kept.forget(Instant::now());
                    self.publish(kept);
                }
            }
        }
    }

    fn publish(&self, kept: &mut Kept) {
        if kept.publish(self.cluster.pods()) {
            self.cluster.known.changed();
        }
        self.told.count(kept.living(), kept.left_out);
    }
}

/// Takes in one change, and where to go on from.
fn take(
    event: Result<WatchEvent<Seen>, kube::Error>,
    version: &mut Option<String>,
    kept: &mut Kept,
    standing: &AllStanding,
) -> Result<(), Ended> {
    let mut at = |now: &str| {
        if !now.is_empty() {
            *version = Some(now.to_owned());
        }
    };
    match event {
        Ok(WatchEvent::Added(seen) | WatchEvent::Modified(seen)) => {
            at(&seen.metadata.resource_version);
            standing.take(&seen, kept::MOST);
            kept.take(seen.kept());
        }
        Ok(WatchEvent::Deleted(seen)) => {
            at(&seen.metadata.resource_version);
            let uid = seen.metadata.uid.clone();
            // Its last words: a container that ended may be told of here alone.
            kept.take(seen.kept());
            kept.gone(&uid, Instant::now());
            standing.gone(&uid);
        }
        Ok(WatchEvent::Bookmark(mark)) => at(&mark.metadata.resource_version),
        Ok(WatchEvent::Error(status)) => return Err(watch::ended(kube::Error::Api(status))),
        Err(error) => return Err(watch::ended(error)),
    }
    Ok(())
}

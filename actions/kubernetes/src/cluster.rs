//! The cluster that the verbs reach: where it is found, and the one client of it.
//!
//! Owns the client, and where it leads, which a reload may change. Keeps true: it is made when it is first wanted and never again while
//! what it was made of holds and the server knows quell by it; a cluster that is not to be found is an error with a hint, and is looked for
//! again by who asks next; nobody waits for long while it is made, whatever a kubeconfig's plugin does.

use crate::busy::Hears;
use crate::call::{CallError, Calls};
use crate::pods::Known;
use kube::client::ClientBuilder;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use quell_actions::network::PodCut;
use quell_model::{ActionSpec, Name, Pods};
use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};
use tokio::runtime::Handle;
use tokio::sync::{Mutex, watch};
use tokio::task::JoinHandle;
use tower::layer::layer_fn;

/// For a connection: an API server is near.
const CONNECT: Duration = Duration::from_secs(3);
/// For the client, which is made of files and of what a plugin says.
const MADE: Duration = Duration::from_secs(5);
/// One by which the server does not know quell is made anew so much later at the soonest: a plugin is not called in a loop.
const ANEW: Duration = Duration::from_secs(2);
/// A permission that quell has is asked after again so much later.
const GRANTED: Duration = Duration::from_secs(300);
/// And one that it lacks: somebody may be about to grant it.
const DENIED: Duration = Duration::from_secs(5);

/// Where a cluster is found.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Settings {
    /// What targets and messages call it.
    pub name: Name,
    /// A kubeconfig; none: what a pod finds in itself. A person's own (`KUBECONFIG`, ~/.kube) is never taken unasked.
    pub kubeconfig: Option<PathBuf>,
    /// Its context; none: the current one.
    pub context: Option<String>,
}

impl Default for Settings {
    fn default() -> Self {
        Self { name: "kubernetes".into(), kubeconfig: None, context: None }
    }
}

/// A cluster, as this engine reaches it.
pub struct Cluster {
    name: Name,
    place: RwLock<Place>,
    /// The number of the place, for whoever has to go along.
    places: watch::Sender<u64>,
    client: Mutex<Slot>,
    /// How many there were.
    clients: AtomicU64,
    /// What was answered on what quell may do, and when.
    pub(crate) granted: std::sync::Mutex<HashMap<String, (bool, Instant)>>,
    /// The pods of this node.
    pub(crate) known: Known,
    /// Hands on the pods of this very node, where it is one of the cluster's.
    node: RwLock<Option<Arc<PodCut>>>,
    #[cfg(debug_assertions)]
    fault: crate::fault::Fault,
}

/// The client, or who makes it.
#[derive(Default)]
struct Slot {
    /// Of which place it is.
    made: Option<(u64, Login)>,
    /// A thread that makes one, for which place.
    making: Option<(u64, JoinHandle<Result<Client, CallError>>)>,
}

/// A client, and which of all that were made it is.
#[derive(Clone)]
pub(crate) struct Login {
    pub(crate) client: Client,
    number: u64,
    at: Instant,
}

/// Where the hands are to reach, as it was told last.
#[derive(Clone)]
struct Place {
    /// None: nowhere.
    settings: Option<Settings>,
    /// Nothing is written outside of this namespace.
    within: Option<Name>,
    /// Which of those that were told.
    number: u64,
}

impl std::fmt::Debug for Cluster {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cluster")
            .field("name", &self.name)
            .field("settings", &self.place().settings)
            .finish_non_exhaustive()
    }
}

impl Cluster {
    /// One that is looked for when it is first wanted.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        Self {
            known: Known::new(settings.name.clone()),
            name: settings.name.clone(),
            place: RwLock::new(Place { settings: Some(settings), within: None, number: 0 }),
            places: watch::Sender::new(0),
            client: Mutex::default(),
            clients: AtomicU64::new(0),
            granted: std::sync::Mutex::default(),
            node: RwLock::default(),
            #[cfg(debug_assertions)]
            fault: crate::fault::Fault::default(),
        }
    }

    /// With hands on the pods of this node: they are cut off in its kernel too.
    #[must_use]
    pub fn with_cut(self, node: PodCut) -> Self {
        self.lend_cut(node);
        self
    }

    /// The same, from now on.
    pub fn lend_cut(&self, node: PodCut) {
        *self.node.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(node));
    }

    /// Hands on the pods of this node.
    pub(crate) fn cut(&self) -> Option<Arc<PodCut>> {
        self.node.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// For tests: after so many further calls none is sent, and whoever makes it waits for ever; none: all go through again. Whoever
    /// waits for [`Cluster::died`] beside a verb, and drops the verb then, has killed it there.
    #[cfg(debug_assertions)]
    pub fn dies_after(&self, calls: Option<u32>) {
        self.fault.dies_after(calls);
    }

    /// Ends when a call was to be made that [`Cluster::dies_after`] keeps from being sent.
    #[cfg(debug_assertions)]
    pub async fn died(&self) {
        self.fault.died().await;
    }

    /// For tests: whoever waits there goes on; after so many further calls it waits again.
    #[cfg(debug_assertions)]
    pub fn goes_on(&self, calls: Option<u32>) {
        self.fault.goes_on(calls);
    }

    /// What it is called.
    #[must_use]
    pub fn name(&self) -> &Name {
        &self.name
    }

    /// Reaches there from now on, and writes in no other namespace than `within`, if there is one. None: it reaches nothing. Its name
    /// stays: targets in the journal are known by it.
    pub fn put(&self, settings: Option<Settings>, within: Option<Name>) {
        let mut place = self.place.write().unwrap_or_else(PoisonError::into_inner);
        place.within = within;
        if place.settings != settings {
            (place.settings, place.number) = (settings, place.number + 1);
            // What was granted there says nothing of here.
            self.granted.lock().unwrap_or_else(PoisonError::into_inner).clear();
            self.places.send_replace(place.number);
        }
    }

    /// Hears when it leads somewhere else.
    pub(crate) fn places(&self) -> watch::Receiver<u64> {
        self.places.subscribe()
    }

    fn place(&self) -> Place {
        self.place.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Why nothing can be written there, if it cannot, whoever lets it.
    pub(crate) fn outside(&self, namespace: Option<&str>) -> Option<String> {
        let within = self.place().within?;
        (namespace != Some(within.as_str())).then(|| {
            let what = namespace
                .map_or_else(|| "what lives in no namespace".to_owned(), |name| format!("the namespace `{name}`"));
            format!("{what} lies outside of `{within}`, and `guard.only_within` allows nothing else")
        })
    }

    /// Whether it is said where the cluster is. Asks nobody.
    ///
    /// # Errors
    /// Why it is not, for people.
    pub fn told(&self) -> Result<(), String> {
        match self.place().settings {
            None => Err("`kubernetes.enabled` is false in quell.yaml".to_owned()),
            Some(settings) if Self::is_told(&settings) => Ok(()),
            Some(_) => Err("quell.yaml names no kubeconfig, and quell runs in no pod".to_owned()),
        }
    }

    /// The pods of this node. Empty for as long as no [`PodWatch`](crate::PodWatch) fills it.
    #[must_use]
    pub fn pods(&self) -> &Arc<Pods> {
        self.known.table()
    }

    /// Whether it is said where a cluster is, by the settings or by the pod that this runs in. Asks nobody.
    #[must_use]
    pub fn is_told(settings: &Settings) -> bool {
        settings.kubeconfig.is_some() || std::env::var_os("KUBERNETES_SERVICE_HOST").is_some()
    }

    /// The calls of one verb, and no others than its permissions list.
    #[must_use]
    pub fn calls(&self, spec: &'static ActionSpec) -> Calls<'_> {
        Calls { cluster: self, spec }
    }

    /// The client; whoever makes a call takes it for that call.
    ///
    /// # Errors
    /// No configuration of a cluster is to be found, or it cannot be read, or that takes too long.
    pub async fn client(&self) -> Result<Client, CallError> {
        self.login().await.map(|login| login.client)
    }

    /// The same, to be told of where the server does not know quell by it.
    pub(crate) async fn login(&self) -> Result<Login, CallError> {
        #[cfg(debug_assertions)]
        self.fault.point().await;
        let late =
            || CallError::Away(format!("no client could be made of its configuration within {} s", MADE.as_secs()));
        tokio::time::timeout(MADE, self.made()).await.unwrap_or_else(|_| Err(late()))
    }

    /// Cancel-safe: a thread that makes one goes on, and whoever asks next waits for it too.
    async fn made(&self) -> Result<Login, CallError> {
        let mut slot = self.client.lock().await;
        let place = self.place();
        if let Some((_, login)) = slot.made.as_ref().filter(|(number, _)| *number == place.number) {
            return Ok(login.clone());
        }
        if slot.making.as_ref().is_none_or(|(number, _)| *number != place.number) {
            let (told, settings, runtime) = (self.told(), place.settings.clone(), Handle::current());
            let make = move || runtime.block_on(make(&told, settings.as_ref()));
            slot.making = Some((place.number, tokio::task::spawn_blocking(make)));
        }
        let Some((_, making)) = slot.making.as_mut() else { return Err(CallError::Away("nobody makes it".to_owned())) };
        let ended = making.await;
        slot.making = None;
        let client = ended.map_err(|error| CallError::Away(format!("its client was not made: {error}")))??;
        let number = self.clients.fetch_add(1, Ordering::Relaxed);
        let login = Login { client, number, at: Instant::now() };
        slot.made = Some((place.number, login.clone()));
        Ok(login)
    }

    /// The server does not know quell by this one: a kubeconfig may have been renewed in its place. Whether another is to be tried.
    pub(crate) async fn unknown(&self, by: &Login) -> bool {
        let Ok(mut slot) = tokio::time::timeout(MADE, self.client.lock()).await else { return false };
        let is_it = slot.made.as_ref().is_some_and(|(_, login)| login.number == by.number);
        // A new one that is not known either has not been renewed.
        if is_it && by.at.elapsed() < ANEW {
            return false;
        }
        if is_it {
            slot.made = None;
        }
        true
    }

    /// What was answered of late on a permission.
    pub(crate) fn granted(&self, what: &str) -> Option<bool> {
        let granted = self.granted.lock().unwrap_or_else(PoisonError::into_inner);
        let (may, at) = *granted.get(what)?;
        (at.elapsed() < if may { GRANTED } else { DENIED }).then_some(may)
    }

    /// Keeps such an answer. There are as many as verbs have permissions, times the namespaces that were acted in.
    pub(crate) fn keep_granted(&self, what: String, may: bool) {
        /// Past that it begins anew.
        const MOST: usize = 4_096;
        let mut granted = self.granted.lock().unwrap_or_else(PoisonError::into_inner);
        if granted.len() >= MOST {
            granted.clear();
        }
        granted.insert(what, (may, Instant::now()));
    }
}

async fn make(told: &Result<(), String>, settings: Option<&Settings>) -> Result<Client, CallError> {
    let mut config = config(told, settings).await?;
    config.connect_timeout = Some(CONNECT);
    // Every call has a bound of its own, and says itself what may be tried again.
    config.default_retry = false;
    let built = ClientBuilder::try_from(config).map(|builder| builder.with_layer(&layer_fn(Hears)).build());
    built.map_err(|error| match error {
        kube::Error::Auth(_) => CallError::NoCluster(crate::call::NO_LOGIN.to_owned()),
        error => CallError::NoCluster(format!("no client can be made of its configuration: {error}")),
    })
}

async fn config(told: &Result<(), String>, settings: Option<&Settings>) -> Result<Config, CallError> {
    if let Err(why) = told {
        return Err(CallError::NoCluster(why.clone()));
    }
    let Settings { kubeconfig, context, .. } = settings.ok_or_else(|| CallError::NoCluster("it is off".to_owned()))?;
    let options = KubeConfigOptions { context: context.clone(), ..KubeConfigOptions::default() };
    match kubeconfig {
        Some(file) => {
            let cannot = |error: String| CallError::NoCluster(format!("`{}` cannot be used: {error}", file.display()));
            let read = Kubeconfig::read_from(file).map_err(|error| cannot(error.to_string()))?;
            Config::from_custom_kubeconfig(read, &options).await.map_err(|error| cannot(error.to_string()))
        }
        None => Config::incluster()
            .map_err(|error| CallError::NoCluster(format!("what the pod says of it cannot be used: {error}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_cluster_that_is_off_or_nowhere_is_an_error_that_says_so() {
        let cluster = Cluster::new(Settings { kubeconfig: Some("/nowhere/kubeconfig".into()), ..Settings::default() });
        assert_eq!(cluster.told(), Ok(()));
        let of = async || cluster.client().await.map(drop).unwrap_err().to_string();
        assert!(of().await.contains("`/nowhere/kubeconfig` cannot be used"));
        cluster.put(None, None);
        assert!(of().await.contains("`kubernetes.enabled` is false"));
        let error = quell_model::ActionError::from(cluster.client().await.map(drop).unwrap_err());
        assert!(matches!(error, quell_model::ActionError::GiveUp { hint: Some(_), .. }), "{error:?}");
        cluster.put(Some(Settings { name: "other".into(), ..Settings::default() }), None);
        assert_eq!(cluster.name().as_str(), "kubernetes", "it is known by its name");
        if std::env::var_os("KUBERNETES_SERVICE_HOST").is_none() {
            assert!(of().await.contains("names no kubeconfig, and quell runs in no pod"));
        }
    }

    #[test]
    fn nothing_is_written_outside_of_a_namespace_that_is_named() {
        let cluster = Cluster::new(Settings::default());
        assert_eq!(cluster.outside(None).or(cluster.outside(Some("shop"))), None);
        cluster.put(Some(Settings::default()), Some("shop".into()));
        assert_eq!(cluster.outside(Some("shop")), None);
        assert!(cluster.outside(Some("pay")).unwrap().contains("the namespace `pay` lies outside of `shop`"));
        assert!(cluster.outside(None).unwrap().contains("what lives in no namespace"));
    }
}

//! The cluster that the verbs reach: where it is found, and the one client of it.
//!
//! Owns the client. Keeps true: it is made when it is first wanted and never again while it works; a cluster that is not to be found is an
//! error with a hint, and is looked for again by who asks next.

use crate::call::{CallError, Calls};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use quell_actions::network::PodCut;
use quell_model::{ActionSpec, Name};
use std::collections::HashMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};
use tokio::sync::Mutex;

/// For a connection: an API server is near.
const CONNECT: Duration = Duration::from_secs(3);
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
    settings: Settings,
    client: Mutex<Option<Client>>,
    /// What was answered on what quell may do, and when.
    pub(crate) granted: std::sync::Mutex<HashMap<String, (bool, Instant)>>,
    /// Hands on the pods of this very node, where it is one of the cluster's.
    node: Option<PodCut>,
    #[cfg(debug_assertions)]
    fault: crate::fault::Fault,
}

impl std::fmt::Debug for Cluster {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cluster").field("settings", &self.settings).finish_non_exhaustive()
    }
}

impl Cluster {
    /// One that is looked for when it is first wanted.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        Self {
            settings,
            client: Mutex::default(),
            granted: std::sync::Mutex::default(),
            node: None,
            #[cfg(debug_assertions)]
            fault: crate::fault::Fault::default(),
        }
    }

    /// With hands on the pods of this node: they are cut off in its kernel too.
    #[must_use]
    pub fn with_cut(self, node: PodCut) -> Self {
        Self { node: Some(node), ..self }
    }

    /// Hands on the pods of this node.
    pub(crate) fn cut(&self) -> Option<&PodCut> {
        self.node.as_ref()
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

    /// What it is called.
    #[must_use]
    pub fn name(&self) -> &Name {
        &self.settings.name
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
    /// No configuration of a cluster is to be found, or it cannot be read.
    pub async fn client(&self) -> Result<Client, CallError> {
        #[cfg(debug_assertions)]
        self.fault.point().await;
        let mut client = self.client.lock().await;
        if let Some(client) = client.as_ref() {
            return Ok(client.clone());
        }
        let mut config = self.config().await?;
        config.connect_timeout = Some(CONNECT);
        // Every call has a bound of its own, and says itself what may be tried again.
        config.default_retry = false;
        let made = Client::try_from(config)
            .map_err(|error| CallError::NoCluster(format!("no client can be made of its configuration: {error}")))?;
        Ok(client.insert(made).clone())
    }

    async fn config(&self) -> Result<Config, CallError> {
        let options = KubeConfigOptions { context: self.settings.context.clone(), ..KubeConfigOptions::default() };
        match &self.settings.kubeconfig {
            Some(file) => {
                let cannot =
                    |error: String| CallError::NoCluster(format!("`{}` cannot be used: {error}", file.display()));
                let read = Kubeconfig::read_from(file).map_err(|error| cannot(error.to_string()))?;
                Config::from_custom_kubeconfig(read, &options).await.map_err(|error| cannot(error.to_string()))
            }
            None => Config::incluster().map_err(|error| CallError::NoCluster(format!("quell runs in no pod: {error}"))),
        }
    }

    /// What was answered of late on a permission.
    pub(crate) fn granted(&self, what: &str) -> Option<bool> {
        let granted = self.granted.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let (may, at) = *granted.get(what)?;
        (at.elapsed() < if may { GRANTED } else { DENIED }).then_some(may)
    }

    /// Keeps such an answer. There are as many as verbs have permissions, times the namespaces that were acted in.
    pub(crate) fn keep_granted(&self, what: String, may: bool) {
        /// Past that it begins anew.
        const MOST: usize = 4_096;
        let mut granted = self.granted.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if granted.len() >= MOST {
            granted.clear();
        }
        granted.insert(what, (may, Instant::now()));
    }
}

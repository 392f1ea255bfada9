//! How the daemon stands: the shape of `GET /v1/status` and of `quell status --json`.

use quell_engine::run::answers::{Exhausted, Held, SilenceView, StandingLease};
use quell_engine::store::Pruned;
use quell_model::{Class, Mode, Name};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Where the daemon is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum State {
    /// Not yet watching.
    Starting,
    /// Watching, and ready to answer.
    Armed,
    /// The API answers, and nothing is watched: the sensor cannot run here or was switched off.
    Blind,
    /// On its way out.
    Stopping,
}

impl State {
    /// The word.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Armed => "armed",
            Self::Blind => "blind",
            Self::Stopping => "stopping",
        }
    }
}

/// How the daemon stands.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct Status {
    /// Where it is in its life.
    pub(crate) state: State,
    /// Its ceiling.
    pub(crate) mode: Mode,
    /// Who set the ceiling.
    pub(crate) mode_because: String,
    /// Every action is stopped.
    pub(crate) paused: bool,
    /// Why the last pause, or its end, did not reach what acts in the kernel.
    #[serde(default)]
    pub(crate) pause_failed: Option<String>,
    /// Why nobody comes in over TCP, though `access.listen` says so. It is tried again all the while.
    #[serde(default)]
    pub(crate) listen_failed: Option<String>,
    /// Why nothing of this host's executables is protected, so that quell only observes.
    #[serde(default)]
    pub(crate) unprotected: Option<String>,
    /// quell's version.
    pub(crate) version: String,
    /// The version of the time zones by which it says who is on call.
    #[serde(default)]
    pub(crate) tzdb: String,
    /// Its pid.
    pub(crate) pid: u32,
    /// This machine.
    pub(crate) node: Name,
    /// Where its data is.
    pub(crate) data_dir: String,
    /// Since when it runs.
    pub(crate) started: jiff::Timestamp,
    /// What watches.
    pub(crate) sensor: SensorStatus,
    /// What kills in the kernel.
    #[serde(default)]
    pub(crate) hands: HandsStatus,
    /// What may not start.
    #[serde(default)]
    pub(crate) block: BlockStatus,
    /// What is cut off the network.
    #[serde(default)]
    pub(crate) cut: CutStatus,
    /// The pods of this node, as the cluster tells of them; absent: nobody says where a cluster is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) pods: Option<PodsStatus>,
    /// Rules in force.
    pub(crate) rules: usize,
    /// Rules that were passed over.
    pub(crate) rules_skipped: usize,
    /// What answers.
    pub(crate) playbooks: Vec<PlaybookStatus>,
    /// Playbooks that something is missing for.
    pub(crate) not_armed: Vec<NotArmed>,
    /// Playbooks that ask before each act now, though they may act.
    #[serde(default)]
    pub(crate) held: Vec<Held>,
    /// What people said of how far playbooks may go.
    #[serde(default)]
    pub(crate) by_hand: Vec<Held>,
    /// Actions that would not work here.
    pub(crate) actions_missing: Vec<ActionMissing>,
    /// Detections since the start.
    pub(crate) detections: u64,
    /// Runs that have not ended.
    pub(crate) runs_open: u64,
    /// Containments that stand and can be taken back.
    pub(crate) standing: u64,
    /// Questions that wait for an answer.
    #[serde(default)]
    pub(crate) questions: u64,
    /// Of these, whose lease is over: a person has to say.
    pub(crate) standing_due: u64,
    /// What stands: first what a person has to say, then what ends first; at most 1000.
    #[serde(default)]
    pub(crate) leases: Vec<StandingLease>,
    /// Silences that stand: nobody is paged for what they cover.
    #[serde(default)]
    pub(crate) silences: Vec<SilenceView>,
    /// Ladders of which the last resort was told, and that nobody has answered.
    #[serde(default)]
    pub(crate) exhausted: Exhausted,
    /// Incidents that have not ended; absent while the journal cannot be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) incidents_open: Option<u64>,
    /// Those of them that may have missed something: events were lost where they play.
    #[serde(default)]
    pub(crate) incidents_degraded: u64,
    /// The one log.
    pub(crate) journal: JournalStatus,
    /// The flight recorder.
    #[serde(default)]
    pub(crate) recorder: RecorderStatus,
    /// Files and folders that are followed, and webhooks.
    #[serde(default)]
    pub(crate) sources: Vec<SourceStatus>,
    /// What goes by its age.
    #[serde(default)]
    pub(crate) retention: RetentionStatus,
    /// The dead man's switch; absent: there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) beat: Option<BeatStatus>,
    /// Whether all was sent to people that should have been.
    #[serde(default)]
    pub(crate) audit: AuditStatus,
    /// Why the last reload was refused, if it was.
    pub(crate) reload_refused: Option<String>,
}

/// Whether all was sent to people that should have been: looked at once a minute.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
pub(crate) struct AuditStatus {
    /// The last look found that it was.
    pub(crate) content: bool,
    /// Since when.
    pub(crate) since: Option<jiff::Timestamp>,
    /// What differs, or why nobody could look.
    pub(crate) why: Option<String>,
    /// Ladders that are open: incidents and questions of which people are told.
    pub(crate) ladders: u64,
}

/// How the kernel's hands stand.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
pub(crate) struct HandsStatus {
    /// They are in the kernel.
    pub(crate) loaded: bool,
    /// Why they are not.
    pub(crate) why: Option<String>,
    /// A marked process of quell's own has died of them.
    pub(crate) tried: bool,
    /// Where they are pinned, so that their marks outlive a daemon that is killed.
    pub(crate) pinned: Option<String>,
    /// Why they are not pinned.
    pub(crate) unpinned_why: Option<String>,
    /// They hang at every system call, because a mark lives.
    pub(crate) at_calls: bool,
    /// SIGKILLs that they have sent.
    pub(crate) struck: u64,
}

/// How the kernel's reflex stands.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
pub(crate) struct BlockStatus {
    /// It is in the kernel.
    pub(crate) loaded: bool,
    /// Why it is not.
    pub(crate) why: Option<String>,
    /// Where it is pinned, so that what is blocked outlives the daemon.
    pub(crate) pinned: Option<String>,
    /// Why it is not pinned.
    pub(crate) unpinned_why: Option<String>,
    /// How scripts are kept from starting: `lsm`, `fanotify`; none: they are not.
    pub(crate) scripts: Option<String>,
    /// What may not start now.
    pub(crate) blocked: Vec<Blocked>,
    /// Why that list is not to be believed: the kernel did not let it be read.
    #[serde(default)]
    pub(crate) unreadable: Option<String>,
}

/// One image that may not start.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct Blocked {
    /// Its number in the kernel's ledger.
    pub(crate) id: String,
    /// Its path.
    pub(crate) image: String,
    /// `host` or `cgroup`.
    pub(crate) scope: String,
    /// How long yet, as its lease says; absent where it has no end, or a person has to say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) seconds_left: Option<u64>,
    /// How long the kernel would keep it by itself, should no quell live.
    pub(crate) kernel_seconds_left: u64,
    /// Strikes since it was entered.
    pub(crate) struck: u64,
    /// Its budget is used up: it strikes no more.
    pub(crate) spent: bool,
    /// Execs that went on, because the kernel could not send its signal.
    #[serde(default)]
    pub(crate) missed: u64,
}

/// How the kernel's cut of the network stands.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
pub(crate) struct CutStatus {
    /// It is in the kernel.
    pub(crate) loaded: bool,
    /// Why it is not.
    pub(crate) why: Option<String>,
    /// Where it is pinned, so that what is cut off outlives the daemon.
    pub(crate) pinned: Option<String>,
    /// Why it is not pinned.
    pub(crate) unpinned_why: Option<String>,
    /// What is cut off now.
    pub(crate) cut_off: Vec<CutOff>,
    /// Why that list is not to be believed: the kernel did not let it be read.
    #[serde(default)]
    pub(crate) unreadable: Option<String>,
}

/// One order of the kernel's cut.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct CutOff {
    /// Its number in the kernel.
    pub(crate) id: String,
    /// The cgroup's path below the v2 hierarchy's root; `/`: all of this host.
    pub(crate) cgroup: String,
    /// All but its peers is dropped; else what goes to them and comes from them.
    pub(crate) isolated: bool,
    /// The networks that it names.
    pub(crate) peers: Vec<String>,
    /// How long yet, as its lease says; absent where it has no end, or a person has to say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) seconds_left: Option<u64>,
    /// How long the kernel would keep it by itself, should no quell live.
    pub(crate) kernel_seconds_left: u64,
    /// Packets that were not sent, since it was entered; also while no quell lived.
    pub(crate) packets_out: u64,
    /// Packets that did not arrive.
    pub(crate) packets_in: u64,
    /// Their bytes, from the network header on.
    pub(crate) bytes_out: u64,
    /// Likewise.
    pub(crate) bytes_in: u64,
    /// Calls of connect and sendmsg that were refused.
    pub(crate) calls: u64,
    /// Hooks that are missing: while there is one, it is not whole.
    pub(crate) unhooked: Vec<String>,
}

/// How the watch of this node's pods stands.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
pub(crate) struct PodsStatus {
    /// What this node is called in the cluster; absent: that is not known yet.
    pub(crate) node: Option<String>,
    /// The cluster tells of each change.
    pub(crate) live: bool,
    /// For so long it has not: what is known of pods may be out of date. Absent while it does, and before it first did.
    pub(crate) stale_seconds: Option<u64>,
    /// Why it does not.
    pub(crate) why: Option<String>,
    /// Pods that are there, as far as is known.
    pub(crate) count: u64,
    /// Pods that there was no room for: their events have no names.
    pub(crate) left_out: u64,
}

/// How the sensor stands.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
pub(crate) struct SensorStatus {
    /// It watches.
    pub(crate) running: bool,
    /// Why it does not.
    pub(crate) why: Option<String>,
    /// Its probes.
    pub(crate) probes: Vec<ProbeStatus>,
    /// Events by class.
    pub(crate) events: Vec<Counted>,
    /// Losses by class.
    pub(crate) lost: Vec<Counted>,
    /// How its thread is scheduled.
    pub(crate) scheduling: String,
    /// Questions who stands between a shell and a network that found no time.
    #[serde(default)]
    pub(crate) unasked: u64,
}

/// One probe.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct ProbeStatus {
    /// Its name.
    pub(crate) id: String,
    /// It is attached.
    pub(crate) attached: bool,
    /// Why it is not, or where it is attached.
    pub(crate) why: String,
}

/// So many of a class.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct Counted {
    /// The class.
    pub(crate) id: Class,
    /// How many.
    pub(crate) count: u64,
}

/// One playbook.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct PlaybookStatus {
    /// Its name.
    pub(crate) id: Name,
    /// How far it may go here.
    pub(crate) mode: Mode,
    /// Why.
    pub(crate) mode_because: String,
    /// Where it was read.
    pub(crate) file: String,
    /// For people.
    pub(crate) description: String,
}

/// A playbook that does not answer.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct NotArmed {
    /// Its name, or its file.
    pub(crate) id: String,
    /// Why.
    pub(crate) why: String,
}

/// An action that would not work here.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct ActionMissing {
    /// Its name.
    pub(crate) id: String,
    /// Why.
    pub(crate) why: String,
}

/// How the journal stands.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
pub(crate) struct JournalStatus {
    /// Records that are taken and not yet in the database.
    pub(crate) waiting: u64,
    /// Of the calls that brought them, how many would be lost if the daemon were killed now.
    #[serde(default)]
    pub(crate) in_memory_only: u64,
    /// Records that could not be taken at all.
    pub(crate) unwritten: u64,
    /// Why the database refuses, hangs or cannot be read, while it does.
    pub(crate) trouble: Option<String>,
    /// What the last start found and could not fit in.
    pub(crate) recovery: Vec<String>,
}

/// A followed file or folder, or a webhook.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub(crate) struct SourceStatus {
    /// What its events are called.
    pub(crate) id: Name,
    /// Bytes that are there and not read yet.
    pub(crate) unread: u64,
    /// Records that could not be read, since the start.
    pub(crate) unreadable: u64,
    /// Records without what was asked and answered, which was left out for its size.
    #[serde(default)]
    pub(crate) truncated: u64,
    /// Files that are set aside until they are written to: there are more than are followed.
    pub(crate) set_aside: u64,
    /// What others bring; absent: it is no webhook.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) webhook: Option<WebhookStatus>,
}

/// Where others bring events, and how deliveries were answered since the start.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub(crate) struct WebhookStatus {
    /// Where it is listened; absent: nowhere.
    pub(crate) address: Option<String>,
    /// Why not, if it cannot be listened. It is tried again all the while.
    pub(crate) listen_failed: Option<String>,
    /// Deliveries that are kept.
    pub(crate) accepted: u64,
    /// Deliveries that were to be brought again, since the engine, the journal or the token could not be asked then.
    pub(crate) later: u64,
    /// Deliveries without the token.
    pub(crate) denied: u64,
    /// Deliveries that could never be taken in.
    pub(crate) wrong: u64,
    /// Events that had been brought before.
    pub(crate) repeated: u64,
}

/// What goes by its age, as `retention` of quell.yaml says.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub(crate) struct RetentionStatus {
    /// How long runs and incidents are kept after their end; absent: for good.
    pub(crate) incidents: Option<String>,
    /// How long evidence is kept; absent: for good.
    pub(crate) evidence: Option<String>,
    /// When it was last looked what may go.
    pub(crate) looked: Option<jiff::Timestamp>,
    /// What that was, while it waits for a quiet moment.
    pub(crate) would: Option<Went>,
    /// When something was last pruned, by whomever.
    pub(crate) pruned: Option<jiff::Timestamp>,
    /// By whom: `retention`, or who used `quell store prune`.
    pub(crate) pruned_by: Option<Name>,
    /// What last went by itself since the start.
    pub(crate) went: Option<Went>,
    /// Why nothing goes, though it should.
    pub(crate) trouble: Option<String>,
}

/// How the dead man's switch stands, which is told as long as all is well here (`channels.beat` of escalation.yaml).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub(crate) struct BeatStatus {
    /// How often it is told, in seconds.
    pub(crate) every_s: u64,
    /// When it last was, since the start.
    pub(crate) told: Option<jiff::Timestamp>,
    /// Why it is not told: not all is well here.
    pub(crate) held: Option<String>,
    /// Why it could not be told, though all is well.
    pub(crate) failed: Option<String>,
}

/// What was pruned, or would be.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub(crate) struct Went {
    /// Runs.
    pub(crate) runs: u64,
    /// Incidents.
    pub(crate) incidents: u64,
    /// Their records.
    pub(crate) records: u64,
    /// What those take, about.
    pub(crate) bytes: u64,
    /// Blobs of the vault.
    pub(crate) blobs: u64,
    /// Their bytes.
    pub(crate) blob_bytes: u64,
    /// Old enough, and kept for what stands, is open or stays.
    pub(crate) kept: u64,
}

impl From<&Pruned> for Went {
    fn from(pruned: &Pruned) -> Self {
        let Pruned { runs, incidents, records, bytes, blobs, blob_bytes, kept_for_leases, kept_for_open } = *pruned;
        Self { runs, incidents, records, bytes, blobs, blob_bytes, kept: kept_for_leases + kept_for_open }
    }
}

/// How the flight recorder stands.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub(crate) struct RecorderStatus {
    /// Events since the start.
    pub(crate) noted: u64,
    /// Of these, how many were let go: it was too slow for them, or the disk refused.
    pub(crate) dropped: u64,
    /// What the ring takes on the disk.
    pub(crate) bytes: u64,
    /// What it may take.
    pub(crate) size: u64,
    /// The earliest event that is kept.
    pub(crate) oldest: Option<jiff::Timestamp>,
    /// Incidents whose surroundings are being kept.
    pub(crate) followed: u64,
    /// What the surroundings of all incidents take.
    pub(crate) pinned_bytes: u64,
    /// Why nothing is recorded, while nothing is.
    pub(crate) trouble: Option<String>,
}

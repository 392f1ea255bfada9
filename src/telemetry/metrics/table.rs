//! Every metric, with its type, its labels and its meaning: what docs/reference/metrics.md is made of.
//!
//! Names follow Prometheus' conventions: `quell_` before, the base unit after, `_total` for what only grows.

/// How a metric behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Type {
    /// Only grows while the daemon lives.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Counts by bounds.
    Histogram,
}

/// A metric.
#[derive(Debug)]
pub(super) struct Family {
    /// Its name.
    pub(super) name: &'static str,
    /// How it behaves.
    pub(super) kind: Type,
    /// What its rows are told apart by.
    pub(super) labels: &'static [&'static str],
    /// What it means.
    pub(super) help: &'static str,
}

macro_rules! families {
    ($($id:ident = $kind:ident $name:literal [$($label:literal),*] $help:literal;)+) => {
        $(pub(super) const $id: &Family =
            &Family { name: $name, kind: Type::$kind, labels: &[$($label),*], help: $help };)+

        /// All of them, in the order of the manual.
        #[cfg(test)]
        pub(super) const ALL: &[&Family] = &[$($id),+];
    };
}

families! {
    BUILD = Gauge "quell_build_info" ["version"] "1, with the version that runs.";
    STATE = Gauge "quell_state" ["state"] "1 for the state that the daemon is in: starting, armed, blind (nothing is watched), stopping; 0 for the others.";
    MODE = Gauge "quell_mode" ["mode"] "1 for the ceiling that holds: observe, approve, enforce; 0 for the others.";
    PAUSED = Gauge "quell_paused" [] "1 while every action is stopped.";
    PAUSE_FAILED = Gauge "quell_pause_failed" [] "1 when the last pause, or its end, did not reach the kernel.";
    PLAYBOOKS = Gauge "quell_playbooks" ["mode"] "Playbooks in force, by how far they may go.";
    NOT_ARMED = Gauge "quell_playbooks_not_armed" [] "Playbooks that cannot answer here, because an action of theirs does not work.";
    BREAKER_OPEN = Gauge "quell_breaker_open" ["playbook"] "1 while a playbook asks a person first, because it would act on too many different images.";
    RULES = Gauge "quell_rules" [] "Rules in force.";
    RULES_SKIPPED = Gauge "quell_rules_skipped" [] "Rules that were passed over, because this engine cannot evaluate them.";
    ACTIONS_MISSING = Gauge "quell_actions_missing" [] "Means of actions that failed the self-test of this start.";
    RELOADS = Counter "quell_reloads_total" ["result"] "Reloads of configuration, playbooks and rules: done, or refused for a mistake in a file.";
    RELOAD_REFUSED = Gauge "quell_reload_refused" [] "1 while the files say something else than what is in force, because the last reload was refused.";
    LOADED = Gauge "quell_definitions_loaded_timestamp_seconds" [] "When the definitions in force were loaded.";

    EVENTS = Counter "quell_events_total" ["source", "class"] "Events, by where they came from (sensor, file: and a path of quell.yaml, or webhook: and a name of it) and their class.";
    LOST = Counter "quell_events_lost_total" ["class", "reason"] "Events that were lost: ring_full, cgroup_budget (a cgroup sent more than it may), cgroup_share (it had more than its share of a ring that is half full).";
    SENSOR_UP = Gauge "quell_sensor_up" [] "1 while the sensor watches this machine.";
    SENSOR_FIRST = Gauge "quell_sensor_realtime" [] "1 when the sensor's thread comes before all ordinary work (SCHED_FIFO).";
    PROBES = Gauge "quell_sensor_probes" ["state"] "Probes that are attached, and that are missing on this kernel.";
    UNASKED = Counter "quell_sensor_relays_unasked_total" [] "Questions who stands between a shell and a network that found no time.";
    RING = Gauge "quell_sensor_ring_bytes" ["ring"] "Bytes that wait in a ring for the sensor's thread, as of the last second.";
    RING_SIZE = Gauge "quell_sensor_ring_size_bytes" ["ring"] "Bytes that a ring holds.";
    SOURCE_LAG = Gauge "quell_source_lag_seconds" ["source"] "How old the latest event of a followed file or a webhook was when it was read.";
    SOURCE_LAST = Gauge "quell_source_last_event_timestamp_seconds" ["source"] "When the latest event of a followed file or a webhook happened.";
    SOURCE_UNREAD = Gauge "quell_source_unread_bytes" ["source"] "Bytes of followed files that are there and not read yet.";
    SOURCE_UNREADABLE = Counter "quell_source_unreadable_records_total" ["source"] "Records of followed files and of webhooks that could not be read.";
    SOURCE_TRUNCATED = Counter "quell_source_truncated_records_total" ["source"] "Audit records without what was asked and answered, which was left out for its size: rules that look into it do not see it.";
    SOURCE_DELIVERIES = Counter "quell_source_deliveries_total" ["source", "answer"] "Deliveries to a webhook, by how they were answered: accepted (they are kept), later (they are to be brought again), denied (without the token), wrong (they could never be taken in).";
    SOURCE_REPEATED = Counter "quell_source_repeated_events_total" ["source"] "Events that had been brought to a webhook before, and were not put to the rules again.";
    SOURCE_LISTENS = Gauge "quell_source_listens" ["source"] "1 while a webhook is listened for, 0 while it cannot be.";

    PODS = Gauge "quell_pods" [] "Pods of this node that are known, where a cluster is watched.";
    PODS_LIVE = Gauge "quell_pods_live" [] "1 while the cluster tells of each change to the pods of this node.";
    PODS_STALE = Gauge "quell_pods_stale_seconds" [] "For how long it has not: what is known of pods may be out of date.";

    DETECTIONS = Counter "quell_detections_total" ["rule", "level"] "Detections, by the rule's name and level.";
    DETECTIONS_HELD = Counter "quell_detections_held_total" ["reason"] "Detections that led to nothing: exception (an exception of a rule holds them back), below_level (no playbook started, and no incident opens for their level).";
    DECISIONS = Counter "quell_trigger_decisions_total" ["playbook", "decision"] "What playbooks made of detections that they ask for: started, joined (a run that is open), if_false.";
    INCIDENTS_OPEN = Gauge "quell_incidents_open" [] "Incidents that are not resolved.";
    INCIDENTS_DEGRADED = Gauge "quell_incidents_degraded" [] "Of those that are not over yet, how many may have missed something, because events were lost where they play.";

    RUNS_STARTED = Counter "quell_runs_started_total" ["playbook", "mode"] "Runs that began, by how far they may go.";
    RUNS_FINISHED = Counter "quell_runs_finished_total" ["playbook", "state"] "Runs that ended: succeeded, failed, cancelled, undone, stuck (something that was done could not be taken back).";
    RUNS_OPEN = Gauge "quell_runs_open" ["playbook", "state"] "Runs that have not ended: running, waiting (for a person or a moment), undoing.";
    RUNS_STUCK = Gauge "quell_runs_stuck" [] "Runs of which something could not be taken back, and stands; a person has to look at them.";
    STEPS = Counter "quell_steps_total" ["action", "outcome"] "Steps that ended, by action (or ask, escalate, playbook, script, tell, wait) and outcome. Each item of a for_each counts, and the step as a whole once more.";
    ATTEMPTS_FAILED = Counter "quell_step_attempts_failed_total" ["action"] "Attempts of steps that failed, the last one of a step included.";
    REFUSALS = Counter "quell_guard_refusals_total" ["guard", "action"] "Steps that a guard refused: protect, only_within, limits, pause, journal (the intent could not be written down).";
    UNDOS = Counter "quell_undos_total" ["action", "outcome"] "Steps that were to be taken back: undone, or stuck.";
    DECIDED = Histogram "quell_event_to_decided_seconds" ["urgency"] "From an event to the decision on it; urgent: of playbooks that contain (freeze, kill, cut, block).";
    BEGUN = Histogram "quell_event_to_started_seconds" ["urgency"] "From an event to the begin of an act; urgent: of actions that contain. The time that a person took to answer is in it.";
    PROVEN = Histogram "quell_event_to_proven_seconds" ["urgency"] "From an event to the proof that the act took effect; urgent: of actions that contain. The time that a person took to answer is in it.";

    QUESTIONS = Counter "quell_questions_total" ["kind"] "Questions to people: approve (before an act), confirm (after it), ask (of a playbook).";
    QUESTIONS_SETTLED = Counter "quell_questions_settled_total" ["kind", "by"] "Questions that are over: a person answered, or nobody did in time.";
    QUESTIONS_WAITING = Gauge "quell_questions_waiting" ["kind"] "Questions that wait for an answer.";
    QUESTION_AGE = Gauge "quell_questions_oldest_age_seconds" [] "How long the oldest question waits for its answer; 0 when none does.";
    AUDIT_CONTENT = Gauge "quell_escalation_audit_content" [] "1 while the auditor, who looks once a minute, finds that all was sent to people that should have been; 0 too while nobody could look.";
    AUDIT_DIFFERENCES = Gauge "quell_escalation_audit_differences" ["kind"] "What the last look of the auditor found: page_late (nothing is heard of a page), step_late (whoever is next was not told), untold (no channel but the terminal has taken the last resort's pages), left_out (a step names somebody whom nobody tried to tell), end_untold (somebody was told, and not that it is over), unreadable.";
    AUDIT_LADDERS = Gauge "quell_escalation_audit_ladders" [] "Incidents and questions of which people are told, as the auditor saw them last.";
    AUDIT_LOOKS = Counter "quell_escalation_audit_looks_total" [] "Looks of the auditor.";
    EXHAUSTED = Gauge "quell_escalation_exhausted" [] "Incidents and questions of which the last resort was told, and that nobody has answered.";
    LEASES_STANDING = Gauge "quell_leases_standing" ["action"] "Containments that stand and can be taken back.";
    LEASES_DUE = Gauge "quell_leases_due" [] "Containments whose lease is over, or that could not be taken back: they stand until a person says.";
    LEASE_NEXT_END = Gauge "quell_lease_next_end_timestamp_seconds" [] "When the next lease ends; absent when none has an end.";
    HANDS_UP = Gauge "quell_kernel_hands_up" [] "1 when what kills within the kernel is loaded.";
    HANDS_STRUCK = Counter "quell_kernel_kills_total" [] "SIGKILLs that were sent within the kernel.";
    BLOCK_UP = Gauge "quell_kernel_block_up" [] "1 when what keeps images from starting is loaded.";
    BLOCKED = Gauge "quell_blocked_images" [] "Images that may not start now.";
    CUT_UP = Gauge "quell_kernel_cut_up" [] "1 when what cuts cgroups off the network is loaded.";
    CUT_OFF = Gauge "quell_cut_off" [] "Cuts of the network that stand: cgroups that are isolated, and peers that are kept away.";

    INBOX = Gauge "quell_engine_inbox_messages" [] "What waits for the engine's thread.";
    INBOX_SIZE = Gauge "quell_engine_inbox_size_messages" [] "What may wait for the engine's thread; whoever sends then waits.";
    RECORDS_WAITING = Gauge "quell_engine_records_waiting" [] "Records that the journal does not take, and that the engine keeps until it does.";
    RECORDS_LOST = Counter "quell_engine_records_lost_total" [] "Records that found no room anywhere.";
    JOURNAL_UP = Gauge "quell_journal_up" [] "1 while the journal's database takes what it is given.";
    JOURNAL_RECORDS = Counter "quell_journal_records_total" [] "Records in the database since the journal began; also those that were pruned.";
    JOURNAL_STREAMS = Gauge "quell_journal_streams" [] "Streams in the database: a run, an incident, a source or the system's own each.";
    JOURNAL_BYTES = Gauge "quell_journal_bytes" [] "Bytes of the database with its log.";
    JOURNAL_WAITING = Gauge "quell_journal_waiting_records" [] "Records that are taken, and not yet in the database.";
    JOURNAL_HELD = Gauge "quell_journal_waiting_bytes" [] "Their bytes.";
    JOURNAL_HELD_SIZE = Gauge "quell_journal_waiting_size_bytes" [] "Bytes that may wait; what comes beyond is refused.";
    JOURNAL_IN_MEMORY = Gauge "quell_journal_in_memory_calls" [] "Writes that would be lost if the daemon were killed now.";
    SLATE = Gauge "quell_journal_slate_bytes" [] "Bytes of the slate that are used: what survives a kill and is not in the database yet.";
    SLATE_SIZE = Gauge "quell_journal_slate_size_bytes" [] "Bytes of the slate.";
    JOURNAL_REFUSED = Counter "quell_journal_refused_writes_total" [] "Writes that were not taken, for want of room.";
    COMMITS_REFUSED = Counter "quell_journal_refused_commits_total" [] "Transactions that the database refused; each is tried again.";
    SYNC = Histogram "quell_journal_sync_seconds" [] "How long it took until what was committed was on the medium.";

    RECORDER_UP = Gauge "quell_recorder_up" [] "1 while the flight recorder records.";
    RECORDER_EVENTS = Counter "quell_recorder_events_total" [] "Events that came to the flight recorder.";
    RECORDER_DROPPED = Counter "quell_recorder_events_dropped_total" [] "Of these, how many were let go: it was too slow for them, or the disk refused.";
    RECORDER_BYTES = Gauge "quell_recorder_bytes" [] "Bytes of the recorder's ring on the disk.";
    RECORDER_SIZE = Gauge "quell_recorder_size_bytes" [] "Bytes that the ring may take.";
    RECORDER_PINNED = Gauge "quell_recorder_pinned_bytes" [] "Bytes of what surrounds incidents and was kept.";
    RECORDER_FOLLOWED = Gauge "quell_recorder_incidents_followed" [] "Incidents whose surroundings are being kept.";
    RECORDER_OLDEST = Gauge "quell_recorder_oldest_event_timestamp_seconds" [] "When the earliest event that the ring keeps happened.";

    API_REQUESTS = Counter "quell_api_requests_total" ["method", "route", "status"] "Requests that the API answered.";
    SCRAPE_ERRORS = Counter "quell_scrape_errors_total" ["part"] "Parts that did not answer a scrape within 2 s, and were left out: engine, database, kernel, host.";
    SCRAPE_SECONDS = Gauge "quell_scrape_duration_seconds" [] "How long it took to ask the parts for this scrape.";
    TRACES_UP = Gauge "quell_traces_up" [] "1 while the collector of telemetry.otlp takes what it is sent; absent where there is none.";
    TRACES = Counter "quell_traces_total" ["result"] "Ends of runs that were sent to the collector, that it refused for good (or some of their spans), or that cannot be read.";
    TRACES_BEHIND = Gauge "quell_traces_behind_records" [] "Rows of the journal after the one up to which every run that ended is dealt with.";
    DISK_FREE = Gauge "quell_data_dir_free_bytes" [] "Bytes that are free where the data directory is.";
    DISK = Gauge "quell_data_dir_size_bytes" [] "Bytes of the file system that the data directory is in.";
    RESIDENT = Gauge "process_resident_memory_bytes" [] "Resident memory of the daemon.";
    VIRTUAL = Gauge "process_virtual_memory_bytes" [] "Virtual memory of the daemon.";
    CPU = Counter "process_cpu_seconds_total" [] "Processor time of the daemon, in user and system mode.";
    THREADS = Gauge "process_threads" [] "Threads of the daemon.";
    OPEN_FDS = Gauge "process_open_fds" [] "File descriptors that the daemon has open.";
    MAX_FDS = Gauge "process_max_fds" [] "File descriptors that it may have open.";
    PROCESS_START = Gauge "process_start_time_seconds" [] "When the daemon was started.";
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;
    use std::fmt::Write;

    /// The page as it is to be.
    fn manual() -> String {
        let head = include_str!("manual.txt");
        let mut page = head.to_owned();
        for family in ALL {
            let labels: Vec<String> = family.labels.iter().map(|label| format!("`{label}`")).collect();
            let kind = format!("{:?}", family.kind).to_lowercase();
            let (name, labels, help) = (family.name, labels.join(", "), family.help);
            writeln!(page, "| `{name}` | {kind} | {labels} | {help} |").unwrap();
        }
        page
    }

    #[test]
    fn the_manual_says_what_the_table_says() {
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/reference/metrics.md");
        if std::env::var_os("QUELL_WRITE_METRICS").is_some() {
            std::fs::write(file, manual()).unwrap();
        }
        let page = std::fs::read_to_string(file).unwrap_or_default();
        assert!(
            page == manual(),
            "docs/reference/metrics.md is not of this table: run this test with QUELL_WRITE_METRICS=1"
        );
    }

    #[test]
    fn names_follow_the_conventions() {
        let mut names = BTreeSet::new();
        for Family { name, kind, labels, help } in ALL {
            assert!(names.insert(*name), "`{name}` stands twice");
            assert!(name.starts_with("quell_") || name.starts_with("process_"), "`{name}`");
            assert!(name.chars().all(|c| c.is_ascii_lowercase() || c == '_'), "`{name}`");
            assert_eq!(*kind == Type::Counter, name.ends_with("_total"), "`{name}`: {kind:?}");
            assert!(*kind != Type::Histogram || name.ends_with("_seconds"), "`{name}` has no unit");
            assert!(!name.contains("_ms") && !name.contains("milli"), "`{name}`: base units only");
            assert!(
                !labels.iter().any(|label| ["le", "id", "run", "incident", "pid", "path"].contains(label)),
                "`{name}`"
            );
            assert!(help.ends_with('.') && !help.contains('|'), "`{name}`: {help}");
        }
    }
}

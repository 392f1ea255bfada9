//! `quell status`: 0 once the daemon is armed, 1 until then, 3 when nobody answers.

use super::client::Client;
use super::escape::escape;
use super::show::{ago, moment, size};
use super::silence::{covered, holds_back};
use super::term::Ink;
use super::{Exit, Fail, Global, Term};
use crate::api::{
    BeatStatus, BlockStatus, Counted, CutOff, CutStatus, HandsStatus, PodsStatus, RecorderStatus, RetentionStatus,
    SourceStatus, State, Status, WebhookStatus, Went,
};
use quell_engine::run::answers::{Exhausted, ExhaustedLadder, StandingLease};

/// Of what stands, so many are named.
const LEASES: usize = 10;
/// Of silences, so many are named.
const SILENCES: usize = 5;
/// Of what nobody answers, so much is named.
const UNANSWERED: usize = 5;

/// See [`run`].
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  until quell status >/dev/null; do sleep 0.1; done      # wait until it is armed")]
pub(crate) struct Args {}

/// Asks and prints.
pub(crate) fn run(_: &Args, global: &Global, term: &Term) -> Result<Exit, Fail> {
    let status: Status = Client::new(global)?.get("/status")?;
    if term.is_json() {
        term.document(&status);
    } else {
        print(&status, term);
    }
    Ok(if status.state == State::Armed { Exit::Right } else { Exit::NotRight })
}

fn print(status: &Status, term: &Term) {
    let field =
        |name: &str, text: String| term.line(format!("  {}  {text}", term.ink(Ink::Dim, &format!("{name:<10}"))));
    let ink = match status.state {
        State::Armed => Ink::Good,
        State::Starting => Ink::Warn,
        State::Blind | State::Stopping => Ink::Bad,
    };
    let since = ago(status.started);
    term.line(format!(
        "{} on {}, for {since} (pid {})",
        term.ink(ink, status.state.as_str()),
        escape(status.node.as_str()),
        status.pid
    ));
    if status.paused {
        term.line(term.ink(Ink::Warn, "PAUSED: no action runs until `quell resume`"));
    }
    let line = |what: String, why: &str| term.line(format!("{what}: {}", escape(why)));
    if let Some(why) = &status.pause_failed {
        let held = if status.paused {
            "NOT HELD in the kernel: what stands there strikes on"
        } else {
            "HELD in the kernel still"
        };
        line(term.ink(Ink::Bad, held), why);
    }
    if let Some(why) = &status.listen_failed {
        line(term.ink(Ink::Bad, "NOT LISTENING on TCP"), why);
    }
    if let Some(why) = &status.unprotected {
        line(term.ink(Ink::Bad, "NOTHING PROTECTED on this host, so that quell only observes"), why);
    }
    field(
        "mode",
        format!("{}  {}", term.ink(Ink::Bold, status.mode.as_str()), term.ink(Ink::Dim, &status.mode_because)),
    );
    field("sensor", sensor(status, term));
    field("hands", hands(&status.hands, term));
    field("block", block(&status.block, term));
    for one in &status.block.blocked {
        let spent =
            if one.spent { term.ink(Ink::Bad, ", its budget is used up: it starts again") } else { String::new() };
        let missed = match one.missed {
            0 => String::new(),
            missed => term.ink(Ink::Bad, &format!(", {missed} let go: the kernel could not send its signal")),
        };
        let left = one.seconds_left.map_or_else(
            || "until a person says".to_owned(),
            |left| format!("{:?} yet", std::time::Duration::from_secs(left)),
        );
        field(
            "",
            format!("{} on this {}, {left}, {} struck{missed}{spent}", escape(&one.image), one.scope, one.struck),
        );
    }
    field("cut", cut(&status.cut, term));
    for one in &status.cut.cut_off {
        field("", cut_off(one, term));
    }
    for probe in status.sensor.probes.iter().filter(|probe| !probe.attached) {
        field("", format!("{} {}: {}", term.ink(Ink::Warn, "missing"), escape(&probe.id), escape(&probe.why)));
    }
    if let Some(of) = &status.pods {
        field("pods", pods(of, term));
    }
    field("events", counts(&status.sensor.events));
    if status.sensor.lost.iter().any(|c| c.count > 0) {
        field("lost", term.ink(Ink::Warn, &counts(&status.sensor.lost)));
    } else {
        field("lost", "none".to_owned());
    }
    if status.sensor.unasked > 0 {
        let unasked = status.sensor.unasked;
        let text = format!("{unasked} questions who relays a shell found no time: one may have gone unseen");
        field("", term.ink(Ink::Warn, &text));
    }
    let skipped =
        if status.rules_skipped > 0 { format!(", {} passed over", status.rules_skipped) } else { String::new() };
    field("rules", format!("{}{skipped}", status.rules));
    field("playbooks", status.playbooks.len().to_string());
    for missing in &status.not_armed {
        field("", format!("{} {}: {}", term.ink(Ink::Warn, "not armed"), escape(&missing.id), escape(&missing.why)));
    }
    for held in &status.held {
        field(
            "",
            format!("{} {}: {}", term.ink(Ink::Warn, "asks first now"), escape(held.id.as_str()), escape(&held.why)),
        );
    }
    for said in &status.by_hand {
        let what = term.ink(Ink::Warn, "by hand");
        field("", format!("{what} {}: {}", escape(said.id.as_str()), escape(&said.why)));
    }
    for missing in &status.actions_missing {
        field(
            "",
            format!("{} {}: {}", term.ink(Ink::Warn, "does not work here"), escape(&missing.id), escape(&missing.why)),
        );
    }
    field("detections", status.detections.to_string());
    field("runs", format!("{} open", status.runs_open));
    if status.questions > 0 {
        field("asks", format!("{} wait for an answer: `quell run list`", status.questions));
    }
    if status.standing > 0 {
        let due = match status.standing_due {
            0 => String::new(),
            due => format!(", of {due} the lease is over: `quell run keep` or `quell run undo`"),
        };
        field("standing", format!("{} can be taken back{due}", status.standing));
        for lease in status.leases.iter().take(LEASES) {
            field("", standing(lease, term));
        }
        match status.standing.saturating_sub(LEASES as u64) {
            0 => {}
            more => field("", format!("and {more} more: `quell status --json`")),
        }
    }
    for (number, one) in status.silences.iter().take(SILENCES).enumerate() {
        let what = format!("{} of {}, until {}", one.id, one.by, moment(one.until));
        let text = format!("{}: {}; {}", escape(&what), covered(one), holds_back(one));
        field(if number == 0 { "silences" } else { "" }, term.ink(Ink::Warn, &text));
    }
    match status.silences.len().saturating_sub(SILENCES) {
        0 => {}
        more => field("", format!("and {more} more: `quell silence list`")),
    }
    match status.incidents_open {
        Some(open) => field("incidents", format!("{open} open")),
        None => field("incidents", term.ink(Ink::Bad, "not known: the journal cannot be read")),
    }
    if status.incidents_degraded > 0 {
        let text = format!("{} degraded: events were lost where they play", status.incidents_degraded);
        field("", term.ink(Ink::Warn, &text));
    }
    field("told", told(status, term));
    for (number, line) in unanswered(&status.exhausted, term).into_iter().enumerate() {
        field(if number == 0 { "unanswered" } else { "" }, line);
    }
    field("journal", journal(status, term));
    field("recorder", recorder(&status.recorder, term));
    for source in &status.sources {
        if let Some(webhook) = &source.webhook {
            field("source", webhook_line(source, webhook, term));
        }
    }
    for source in status.sources.iter().filter(|source| source.webhook.is_none() && source.truncated > 0) {
        let (id, count) = (escape(source.id.as_str()), source.truncated);
        let text = format!("{id}  {count} records without what was asked, which was left out for its size");
        field("source", term.ink(Ink::Warn, &text));
    }
    for source in status.sources.iter().filter(|source| source.set_aside > 0) {
        let (id, aside, unread) = (escape(source.id.as_str()), source.set_aside, size(source.unread));
        let text =
            format!("{id} holds too many files: {aside} are set aside until they are written to; {unread} unread");
        field("source", term.ink(Ink::Warn, &text));
    }
    if let Some(text) = retention(&status.retention, term) {
        field("retention", text);
    }
    if let Some(told) = &status.beat {
        field("beat", beat(told, term));
    }
    for found in &status.journal.recovery {
        field("", term.ink(Ink::Warn, found));
    }
    if let Some(why) = &status.reload_refused {
        field("reload", term.ink(Ink::Bad, &format!("refused, the former definitions hold: {why}")));
    }
    field("data", escape(&status.data_dir).into_owned());
}

/// Whether people were told what they should have been.
fn webhook_line(source: &SourceStatus, webhook: &WebhookStatus, term: &Term) -> String {
    let id = escape(source.id.as_str());
    if let Some(why) = &webhook.listen_failed {
        return format!("{id}  {}: {}", term.ink(Ink::Bad, "NOT LISTENING"), escape(why));
    }
    let address = webhook.address.as_deref().unwrap_or("nowhere yet");
    let counts = [
        (webhook.repeated, "events brought again"),
        (webhook.later, "put off"),
        (webhook.denied, "without the token"),
        (webhook.wrong, "that cannot be taken"),
        (source.unreadable, "records put aside"),
        (source.truncated, "records without what was asked"),
    ];
    let more = counts.iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!(", {count} {what}"));
    format!("{id}  at {address}: {} deliveries{}", webhook.accepted, more.collect::<String>())
}

fn told(status: &Status, term: &Term) -> String {
    let open = match status.audit.ladders {
        0 => "nobody is being told of anything".to_owned(),
        1 => "1 ladder is open".to_owned(),
        more => format!("{more} ladders are open"),
    };
    match (&status.audit.why, status.audit.content) {
        (Some(why), false) => term.ink(Ink::Bad, &format!("NOT ALL that should have been: {}", escape(why))),
        (_, true) => format!("all that should have been; {open}"),
        (None, false) => term.ink(Ink::Warn, "not known: this daemon does not say"),
    }
}

/// What nobody has answered, though nobody is left who could be told.
fn unanswered(exhausted: &Exhausted, term: &Term) -> Vec<String> {
    if exhausted.count == 0 {
        return Vec::new();
    }
    let head = term.ink(Ink::Bad, &format!("NOBODY ANSWERS {}, and the last resort was told", exhausted.count));
    let one = |ladder: &ExhaustedLadder| {
        format!("{} {}: {}", ladder.level, escape(ladder.id.as_str()), escape(&ladder.title))
    };
    let mut lines = vec![head];
    lines.extend(exhausted.first.iter().take(UNANSWERED).map(one));
    let more = exhausted.count.saturating_sub(lines.len() as u64 - 1);
    lines.extend((more > 0).then(|| format!("and {more} more: `quell status --json`")));
    lines
}

fn standing(lease: &StandingLease, term: &Term) -> String {
    let owner = lease.owner.as_ref().map(|owner| format!(", of {owner}")).unwrap_or_default();
    let end = match lease.until {
        _ if lease.due => term.ink(Ink::Warn, "its lease is over"),
        Some(until) => format!("until {}", moment(until)),
        None => "without an end".to_owned(),
    };
    format!("{} {}{}, {end}", escape(lease.action.as_str()), escape(&lease.id), escape(&owner))
}

fn sensor(status: &Status, term: &Term) -> String {
    let sensor = &status.sensor;
    if !sensor.running {
        return term.ink(Ink::Bad, &format!("not running: {}", sensor.why.as_deref().unwrap_or("switched off")));
    }
    let attached = sensor.probes.iter().filter(|probe| probe.attached).count();
    format!("{attached} of {} probes, {}", sensor.probes.len(), escape(&sensor.scheduling))
}

fn pods(pods: &PodsStatus, term: &Term) -> String {
    let node = pods.node.as_ref().map(|node| format!(" of node {}", escape(node))).unwrap_or_default();
    let known = format!("{}{node}", pods.count);
    let full = match pods.left_out {
        0 => String::new(),
        more => term.ink(Ink::Bad, &format!("; for {more} more there was no room")),
    };
    if pods.live {
        return format!("{known} known{full}");
    }
    let why = pods.why.as_ref().map(|why| format!(": {}", escape(why))).unwrap_or_default();
    let since = match pods.stale_seconds {
        Some(seconds) => format!("{known} known, as of {:?} ago", std::time::Duration::from_secs(seconds)),
        None => "none known yet".to_owned(),
    };
    format!("{}{why}{full}", term.ink(Ink::Warn, &since))
}

fn hands(hands: &HandsStatus, term: &Term) -> String {
    if let Some(why) = &hands.why {
        let less = term.ink(Ink::Warn, "none in the kernel, process.kill sends signals alone");
        return format!("{less}: {}", escape(why));
    }
    let tried = if hands.tried { "tried on a process of their own" } else { "not tried while paused" };
    let kept = match (&hands.pinned, &hands.unpinned_why) {
        (Some(dir), _) => format!("pinned in {}", escape(dir)),
        (None, why) => format!("not pinned: {}", escape(why.as_deref().unwrap_or("not said"))),
    };
    let now = if hands.at_calls { ", a mark lives" } else { "" };
    format!("in the kernel, {tried}, {kept}{now}, {} struck", hands.struck)
}

fn block(block: &BlockStatus, term: &Term) -> String {
    if let Some(why) = &block.why {
        return format!("{}: {}", term.ink(Ink::Warn, "process.block_exec does not work here"), escape(why));
    }
    let kept = match (&block.pinned, &block.unpinned_why) {
        (Some(dir), _) => format!("pinned in {}", escape(dir)),
        (None, why) => format!("not pinned: {}", escape(why.as_deref().unwrap_or("not said"))),
    };
    let scripts = match &block.scripts {
        Some(how) => format!("scripts by {}", escape(how)),
        None => term.ink(Ink::Warn, "no scripts"),
    };
    let images = match &block.unreadable {
        Some(why) => term.ink(Ink::Bad, &format!("which images cannot be read ({})", escape(why))),
        None => format!("{} images", block.blocked.len()),
    };
    format!("{images}, {scripts}, {kept}")
}

fn cut(cut: &CutStatus, term: &Term) -> String {
    if let Some(why) = &cut.why {
        let what = term.ink(Ink::Warn, "network.isolate and network.block_peer do not work here");
        return format!("{what}: {}", escape(why));
    }
    let kept = match (&cut.pinned, &cut.unpinned_why) {
        (Some(dir), _) => format!("pinned in {}", escape(dir)),
        (None, why) => format!("not pinned: {}", escape(why.as_deref().unwrap_or("not said"))),
    };
    let orders = match &cut.unreadable {
        Some(why) => term.ink(Ink::Bad, &format!("what is cut off cannot be read ({})", escape(why))),
        None => format!("{} cut off", cut.cut_off.len()),
    };
    format!("{orders}, {kept}")
}

fn cut_off(one: &CutOff, term: &Term) -> String {
    let peers = if one.peers.is_empty() { "nothing".to_owned() } else { one.peers.join(", ") };
    let what = if one.isolated { format!("but for {peers}") } else { format!("from {peers}") };
    let left = one.seconds_left.map_or_else(
        || "until a person says".to_owned(),
        |left| format!("{:?} yet", std::time::Duration::from_secs(left)),
    );
    let missing = match one.unhooked.as_slice() {
        [] => String::new(),
        some => term.ink(Ink::Bad, &format!(", NOT WHOLE: {} missing", escape(&some.join(", ")))),
    };
    let (cgroup, packets) = (escape(&one.cgroup), one.packets_out + one.packets_in);
    format!("{cgroup} {what}, {left}, {packets} packets and {} calls dropped{missing}", one.calls)
}

fn beat(beat: &BeatStatus, term: &Term) -> String {
    let every = format!("every {:?}", std::time::Duration::from_secs(beat.every_s));
    let last = beat.told.map_or_else(|| "not told yet".to_owned(), |at| format!("told {} ago", ago(at)));
    match (&beat.held, &beat.failed) {
        (Some(why), _) => format!("{}: {}; {last}", term.ink(Ink::Bad, "HELD, not all is well"), escape(why)),
        (None, Some(why)) => format!("{}: {}; {last}", term.ink(Ink::Bad, "it cannot be told"), escape(why)),
        (None, None) => format!("{last}, {every}"),
    }
}

fn counts(list: &[Counted]) -> String {
    let parts: Vec<String> = list
        .iter()
        .filter(|c| c.count > 0)
        .map(|c| format!("{} {}", c.count, c.id.as_str().replace('_', " ")))
        .collect();
    if parts.is_empty() { "none".to_owned() } else { parts.join(", ") }
}

fn journal(status: &Status, term: &Term) -> String {
    let journal = &status.journal;
    let lost = (journal.unwritten > 0).then(|| format!("{} records were lost", journal.unwritten));
    let waits =
        journal.trouble.as_ref().map(|why| format!("it cannot be written, {} records wait: {why}", journal.waiting));
    let risk = (journal.in_memory_only > 0).then(|| format!("{} of them are in memory only", journal.in_memory_only));
    let said: Vec<String> = lost.into_iter().chain(waits).chain(risk).collect();
    if said.is_empty() { "well".to_owned() } else { term.ink(Ink::Bad, &escape(&said.join("; "))) }
}

fn retention(retention: &RetentionStatus, term: &Term) -> Option<String> {
    let age = |what: &str, age: &Option<String>| age.as_ref().map(|age| format!("{what} for {age}"));
    let ages = [age("runs and incidents", &retention.incidents), age("evidence", &retention.evidence)];
    let kept: Vec<String> = ages.into_iter().flatten().collect();
    if kept.is_empty() {
        return None;
    }
    let mut text = kept.join(", ");
    if let (Some(at), Some(by)) = (retention.pruned, &retention.pruned_by) {
        text += &format!("; last pruned {} ago by {}", ago(at), escape(by.as_str()));
    }
    let count = |went: &Went| {
        let Went { runs, incidents, blobs, .. } = went;
        format!("{runs} runs, {incidents} incidents and {blobs} blobs, {}", size(went.bytes + went.blob_bytes))
    };
    text += &retention.went.as_ref().map(|went| format!(": {}", count(went))).unwrap_or_default();
    text += &retention.would.as_ref().map(|would| format!("; next {}", count(would))).unwrap_or_default();
    if let Some(why) = &retention.trouble {
        text += &term.ink(Ink::Bad, &format!("; nothing goes: {}", escape(why)));
    }
    Some(text)
}

fn recorder(recorder: &RecorderStatus, term: &Term) -> String {
    if let Some(why) = &recorder.trouble {
        return term.ink(Ink::Bad, &format!("nothing is recorded: {why}"));
    }
    let since = recorder.oldest.map(|oldest| format!(" since {} ago", ago(oldest))).unwrap_or_default();
    let mut text = format!("{} events, {} of {}{since}", recorder.noted, size(recorder.bytes), size(recorder.size));
    if recorder.pinned_bytes > 0 || recorder.followed > 0 {
        text += &format!("; {} around incidents, {} followed", size(recorder.pinned_bytes), recorder.followed);
    }
    if recorder.dropped > 0 {
        text += &term.ink(Ink::Warn, &format!("; {} were dropped", recorder.dropped));
    }
    text
}

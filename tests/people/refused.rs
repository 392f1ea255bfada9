//! Clicks in number that mean nothing: the very same requests once more, generations that do not stand, and people who may not. Whatever
//! each is told, nothing comes of it.

use super::signed::Signed;
use super::standin::{ANA, BO};
use super::talks::{CY, SIGNED, STRANGER, Talks};
use super::*;
use quell_actions::notify::mark::{Mark, MarkKey};
use quell_engine::store::Journal;
use quell_model::record::LadderChange;
use quell_model::{Body, IncidentId, Kind, LadderId, Record, StreamId};

/// Of each kind.
const EACH: usize = 300;
/// There is room for so many at once, with what they are told.
const HANDFUL: usize = 100;
/// Each would be seen in the journal.
const ACTS: [&str; 3] = ["acknowledge", "escalate", "resolve"];

/// What an incident's records and its ladder's say, but for what came of pages, what is recorded, and who was late or turned away.
fn effects(state: &Path, id: &str) -> Vec<Record> {
    let journal = Journal::open_read_only(state).unwrap();
    let streams = [StreamId::incident(&IncidentId::from(id)), StreamId::ladder(&LadderId::from(id))];
    let mut all: Vec<Record> = streams.iter().flat_map(|stream| journal.read(stream, 1).unwrap()).collect();
    all.retain(|record| match &record.body {
        Body::LadderChanged(changed) => {
            !matches!(changed.change, LadderChange::AnsweredTooLate | LadderChange::TurnedAway)
        }
        Body::PageReceipted(_) | Body::RecorderPinned(_) => false,
        _ => true,
    });
    all
}

/// The same, once one of them is this.
fn effects_with(state: &Path, id: &str, is_it: impl Fn(&Body) -> bool) -> Vec<Record> {
    wait_until("it is written", || effects(state, id).iter().any(|record| is_it(&record.body)));
    effects(state, id)
}

fn is_change(body: &Body, change: LadderChange) -> bool {
    matches!(body, Body::LadderChanged(changed) if changed.change == change)
}

/// Sends these, in handfuls for which there is room; what whoever clicked was told of each, at this name.
fn told(talks: &Talks, hook: &str, clicks: &[Signed]) -> Vec<String> {
    let mut sent = 0;
    for handful in clicks.chunks(HANDFUL) {
        for click in handful {
            assert_eq!(talks.takes(click), 200);
        }
        sent += handful.len();
        wait_until("all are told", || talks.slack.told(hook).len() == sent);
    }
    talks.slack.told(hook)
}

#[test]
fn of_hundreds_of_clicks_that_mean_nothing_none_has_an_effect() {
    let talks = Talks::new(SIGNED, &[]);
    let (id, state) = (talks.attacked(), talks.daemon.state.clone());
    let first = talks.click(ANA, "acknowledge", &talks.button("acknowledge"), "first");
    assert_eq!(talks.takes(&first), 200);
    assert_eq!(talks.slack.hears("first"), format!("you look after incident `{id}`"));
    // Said once more by another click it is written: who looks after it has moved it.
    talks.clicks(ANA, "acknowledge", &talks.mark(&id, 1), "again");
    let stands = effects_with(&state, &id, |body| is_change(body, LadderChange::Touched));

    for _ in 0..EACH {
        assert_eq!(talks.takes(&first), 200);
    }
    assert!(talks.says(CY, "help", "help").contains("/quell ack ID"), "what waited before it has been done");
    assert_eq!(talks.slack.told("first").len(), 1);
    assert_eq!(effects(&state, &id), stands, "the very same request");

    // Nobody looks after it: whoever may and means what stands could.
    talks.daemon.ask(&["incident", "unack", &id]).ends(0);
    let is_anew = |body: &Body| matches!(body, Body::LadderMoved(moved) if moved.generation == 2);
    let stands = effects_with(&state, &id, is_anew);
    let generations = [0, 1, 3, 7].map(|generation| talks.mark(&id, generation));
    let stale: Vec<Signed> = (0..EACH)
        .map(|n| talks.click([ANA, BO][n % 2], ACTS[n % ACTS.len()], &generations[n % generations.len()], "stale"))
        .collect();
    for said in told(&talks, "stale", &stale) {
        assert!(said.contains("has been raised anew since that was asked"), "{said}");
    }
    assert_eq!(effects(&state, &id), stands, "of another generation");

    let mark = talks.mark(&id, 2);
    let others = MarkKey::new([7; 32]).seal(&Mark { ladder: id.as_str().into(), generation: 2, person: None });
    let may_not = [(STRANGER, &mark), (CY, &mark), (ANA, &others)];
    let away: Vec<Signed> = (0..EACH)
        .map(|n| {
            let (user, mark) = may_not[n % may_not.len()];
            talks.click(user, ACTS[n / may_not.len() % ACTS.len()], mark, "away")
        })
        .collect();
    for said in told(&talks, "away", &away) {
        let why = ["is nobody in escalation.yaml", "cy may not do that", "none of this quell's: nothing was done"];
        assert!(why.iter().any(|why| said.contains(why)), "{said}");
    }
    assert_eq!(effects(&state, &id), stands, "of those who may not");
    assert_eq!(talks.state(), "open");

    // One that means what stands, by somebody who may; what waited anywhere has been done when the daemon has ended.
    let said = talks.clicks(BO, "resolve", &mark, "at-last");
    assert!(said.contains(&format!("you have resolved incident `{id}`")), "{said}");
    let Talks { night: Night { home, daemon, .. }, slack } = talks;
    daemon.end();
    let mut rest = effects(&state, &id);
    rest.retain(|record| !stands.contains(record) && record.body.kind() != Kind::LadderClosed);
    let kinds: Vec<Kind> = rest.iter().map(|record| record.body.kind()).collect();
    assert_eq!(kinds, [Kind::IncidentChanged, Kind::LadderEnded]);
    drop((home, slack));
}

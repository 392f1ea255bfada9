//! Answers from people by other ways than this API's own: the one path for buttons, links and whatever comes later.
//!
//! ```text
//! who, by which way, what, to which message ─▶ may they? (access) ─▶ the engine (does it still mean what stands?) ─▶ said, for people
//!                                                └─ no ─▶ no effect; kept in the ladder's stream
//! ```
//!
//! Owns what an act of a message asks of the engine, and what people are told of it. Never decides whether an answer counts: the
//! engine does; what somebody may is `access`'s to say, by the rows of the routes that do the same. Keeps true: whoever may not has
//! no effect, and that they tried is kept.

use super::access::Via;
use super::caller::PeerProcess;
use super::incidents::{drafted, reason};
use super::{App, Problem};
use axum::http::{Method, StatusCode};
use quell_actions::notify::mark::Mark;
use quell_engine::run::answers::{AnswerTaken, IncidentAcknowledged, IncidentKept, IncidentUndoing, IsFalsePositive};
use quell_engine::run::{AnswerGiven, May, Pressed, Request, Turned, Way};
use quell_model::notice::Act;
use quell_model::people::UNVERIFIED;
use quell_model::{Hash, IncidentId, Json, LadderId, Name, OfLadder, RunId, StepId};
use serde::de::DeserializeOwned;

/// What somebody does by a message.
#[derive(Clone, Debug)]
pub(crate) struct Pressing {
    /// Who, of the people of escalation.yaml.
    pub(crate) person: Name,
    /// Which way: `slack`, `email`.
    pub(crate) via: &'static str,
    /// From where, where that may be a process of this host; none: it is not.
    pub(crate) from: Option<PeerProcess>,
    /// What.
    pub(crate) act: Act,
    /// What the message carried.
    pub(crate) mark: Mark,
    /// The sum of a link, which does each thing once; none: it is no link.
    pub(crate) link: Option<Hash>,
    /// Why, in their words; may be empty.
    pub(crate) why: String,
}

/// What came of it, for people.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Outcome {
    /// It was done.
    pub(crate) ok: bool,
    /// As a status of HTTP: 200, or why not.
    pub(crate) status: StatusCode,
    /// A sentence.
    pub(crate) said: String,
    /// What would make it work.
    pub(crate) hint: Option<String>,
}

impl Outcome {
    fn done(said: String) -> Self {
        Self { ok: true, status: StatusCode::OK, said, hint: None }
    }
}

impl From<Problem> for Outcome {
    fn from(problem: Problem) -> Self {
        let (status, said, hint) = problem.parts();
        Self { ok: false, status, said, hint }
    }
}

/// Does what somebody wants who answers a message, if they may and it still means what stands. Carried through, whoever waits: a
/// browser that leaves does not keep it from being done, or that somebody was turned away from being written down.
pub(crate) async fn press(app: &App, pressing: Pressing) -> Outcome {
    let of = app.clone();
    let through = tokio::spawn(async move { press_through(&of, pressing).await });
    through.await.unwrap_or_else(|error| {
        tracing::error!(%error, "an answer could not be carried through");
        let what = "this could not be carried through, and it may have been done";
        Problem::new(StatusCode::INTERNAL_SERVER_ERROR, what).hint("look how it stands before you say it again").into()
    })
}

async fn press_through(app: &App, pressing: Pressing) -> Outcome {
    let Pressing { person, via, act, mark, .. } = &pressing;
    let turned = |why: String| Turned {
        ladder: mark.ladder.clone(),
        generation: mark.generation,
        by: person.clone(),
        via: Name::from(*via),
        act: act.word().into(),
        why,
    };
    match pressed(app, &pressing).await {
        Ok(outcome) => outcome,
        Err(problem) => {
            let outcome = Outcome::from(problem);
            if outcome.status == StatusCode::FORBIDDEN {
                turn_away(app, turned(outcome.said.clone())).await;
            }
            outcome
        }
    }
}

/// Somebody who is nobody in escalation.yaml wants something of a ladder, of a message of this generation (0: of none): nothing is
/// done, and it is kept.
#[cfg_attr(not(feature = "slack"), allow(dead_code, reason = "only Slack tells of people by its own names"))]
pub(super) async fn stranger(
    app: &App,
    (via, identity): (&'static str, &str),
    act: &Act,
    (ladder, generation): (LadderId, u32),
) -> Outcome {
    let outcome = nobody(via, identity);
    let by = format!("{via} {identity}{UNVERIFIED}").into();
    let why = outcome.said.clone();
    turn_away(app, Turned { ladder, generation, by, via: via.into(), act: act.word().into(), why }).await;
    outcome
}

/// What somebody is told who is nobody in escalation.yaml.
#[cfg_attr(not(feature = "slack"), allow(dead_code, reason = "only Slack tells of people by its own names"))]
pub(super) fn nobody(via: &'static str, identity: &str) -> Outcome {
    let said = format!("`{identity}` of {via} is nobody in escalation.yaml: nothing was done");
    let hint = format!("`identities: {{ {via}: {identity} }}` of a person there makes them known");
    Outcome { ok: false, status: StatusCode::FORBIDDEN, said, hint: Some(hint) }
}

/// Somebody looks after an incident, as it stands: they answer no message.
#[cfg_attr(not(feature = "slack"), allow(dead_code, reason = "only Slack tells of people by its own names"))]
pub(super) async fn acknowledge(app: &App, person: &Name, via: &'static str, incident: IncidentId) -> Outcome {
    let (ladder, act) = (LadderId::incident(&incident), Act::Acknowledge);
    let (by, way) = (person.clone(), Name::from(via));
    let wants =
        Request::Acknowledge { incident, acknowledged: true, why: String::new(), by, via: way, generation: None };
    let answer = match may(app, person, &act) {
        Ok(()) => app.ask(if_still(app, person, &act, wants)).await,
        Err(problem) => Err(problem),
    };
    let outcome = answer.map_or_else(Outcome::from, |answer| acknowledged(person, answer));
    if outcome.status == StatusCode::FORBIDDEN {
        let (by, why) = (person.clone(), outcome.said.clone());
        turn_away(app, Turned { ladder, generation: 0, by, via: via.into(), act: act.word().into(), why }).await;
    }
    outcome
}

/// Keeps that somebody tried who may not.
async fn turn_away(app: &App, turned: Turned) {
    let Turned { ladder, by, via, act, why, .. } = &turned;
    tracing::warn!(%ladder, %by, %via, %act, why, "an answer had no effect: whoever gave it may not");
    if let Err(problem) = app.ask::<Json>(Request::TurnedAway(Box::new(turned))).await {
        let (_, why, _) = problem.parts();
        tracing::warn!(why, "that somebody was turned away is not in the journal");
    }
}

async fn pressed(app: &App, pressing: &Pressing) -> Result<Outcome, Problem> {
    let Pressing { person, via, from, act, mark, .. } = pressing;
    let access = app.desk.access().borrow().clone();
    access.person_may(person, &Method::POST, route(act))?;
    let way = match from {
        Some(peer) => app.way(Via(via), *peer).await?,
        None => Way { via: (*via).into(), from: None },
    };
    match mark.ladder.of() {
        OfLadder::Incident(incident) => of_incident(app, pressing, incident, way).await,
        OfLadder::Question(run) => {
            let part = mark.ladder.as_question().map(|(_, step, item)| (step, item));
            of_question(app, pressing, (run, part), way).await
        }
    }
}

/// Whether somebody may do this by a message, as far as their roles say.
pub(super) fn may(app: &App, person: &Name, act: &Act) -> Result<(), Problem> {
    app.desk.access().borrow().person_may(person, &Method::POST, route(act))
}

/// The same, as long as they may when the engine comes to it: what was read anew meanwhile holds then.
fn if_still(app: &App, person: &Name, act: &Act, wants: Request) -> Request {
    let (access, person, route) = (app.desk.access(), person.clone(), route(act));
    let may = May::by(move || {
        let may = access.borrow().person_may(&person, &Method::POST, route);
        may.map_err(|problem| problem.parts().1)
    });
    Request::IfMay { may, wants: Box::new(wants) }
}

/// The route that does the same.
fn route(act: &Act) -> &'static str {
    match act {
        Act::Acknowledge => "/v1/incidents/{id}/ack",
        Act::Escalate => "/v1/incidents/{id}/escalate",
        Act::Resolve => "/v1/incidents/{id}/resolve",
        Act::FalsePositive => "/v1/incidents/{id}/false-positive",
        Act::Keep => "/v1/incidents/{id}/keep",
        Act::Undo => "/v1/incidents/{id}/undo",
        Act::Choose(_) => "/v1/runs/{id}/answer",
    }
}

async fn of_incident(app: &App, pressing: &Pressing, id: IncidentId, way: Way) -> Result<Outcome, Problem> {
    let Pressing { person, act, .. } = pressing;
    let (incident, by, via) = (id.clone(), person.clone(), way.via.clone());
    let why = said_why(pressing);
    let done = |what: &str| Ok(Outcome::done(format!("{what} incident `{id}`")));
    match act {
        Act::Acknowledge => {
            let generation = Some(pressing.mark.generation);
            let wants = Request::Acknowledge { incident, acknowledged: true, why, by, via, generation };
            Ok(acknowledged(person, asked(app, pressing, wants).await?))
        }
        Act::Escalate => {
            asked::<Json>(app, pressing, Request::Escalate { incident, why, by, via }).await?;
            Ok(Outcome::done(format!("whoever is next is told of incident `{id}`")))
        }
        Act::Resolve => {
            asked::<Json>(app, pressing, Request::Resolve { incident, why, by, via }).await?;
            done("you have resolved")
        }
        Act::Keep => {
            let wants = Request::KeepIncident { incident, lasts: None, by, way };
            let IncidentKept { runs, .. } = asked(app, pressing, wants).await?;
            let runs: Vec<&str> = runs.iter().map(|run| run.id.as_str()).collect();
            Ok(Outcome::done(format!("what was done about incident `{id}` stands without an end: {}", runs.join(", "))))
        }
        Act::Undo => {
            let IncidentUndoing { runs, .. } =
                asked(app, pressing, Request::UndoIncident { incident, by, way, why }).await?;
            let refused = runs.iter().filter_map(|run| Some(format!("run `{}`: {}", run.id, run.error.as_ref()?)));
            let refused: Vec<String> = refused.collect();
            let mut outcome = Outcome::done(format!("what was done about incident `{id}` is being taken back"));
            if !refused.is_empty() {
                outcome.said.push_str(&format!(", but not all of it: {}", refused.join("; ")));
            }
            Ok(outcome)
        }
        Act::FalsePositive => {
            let reason = reason(why)?;
            let (exception, _) = drafted(app, (&incident, &by), &reason, None).await?;
            let is_drafted = exception.is_some();
            let wants = Request::FalsePositive { incident, reason, by, way, exception };
            let IsFalsePositive { runs, .. } = asked(app, pressing, wants).await?;
            let back = if runs.is_empty() { "" } else { "; what was done is being taken back" };
            let drafted = if is_drafted {
                format!("; an exception is drafted: `quell incident show {id} --exception`")
            } else {
                String::new()
            };
            Ok(Outcome::done(format!("incident `{id}` is resolved: it was no attack{back}{drafted}")))
        }
        Act::Choose(choice) => Err(no_such(&format!("`{choice}`"), &format!("incident `{id}`"))),
    }
}

async fn of_question(
    app: &App,
    pressing: &Pressing,
    (run, part): (RunId, Option<(StepId, Option<u32>)>),
    Way { via, from }: Way,
) -> Result<Outcome, Problem> {
    let Act::Choose(choice) = &pressing.act else {
        return Err(no_such(&format!("`{}`", pressing.act.word()), &format!("what run `{run}` asks")));
    };
    let (by, choice) = (pressing.person.clone(), choice.clone());
    let (step, item) = part.map_or((None, None), |(step, item)| (Some(step), item));
    // The generation stands for the plan: a message that showed another names another.
    let given = AnswerGiven { run, step, item, choice, plan: None, by, via, from, why: pressing.why.trim().to_owned() };
    let taken: AnswerTaken = asked(app, pressing, Request::Answer(Box::new(given))).await?;
    let AnswerTaken { choice, missing, .. } = taken;
    Ok(Outcome::done(match missing {
        0 => format!("your answer is `{choice}`, and it holds"),
        1 => format!("your answer is `{choice}`; one more has to say so too"),
        more => format!("your answer is `{choice}`; {more} more have to say so too"),
    }))
}

fn no_such(act: &str, of: &str) -> Problem {
    Problem::new(StatusCode::UNPROCESSABLE_ENTITY, format!("{act} is nothing that can be said to {of}"))
}

/// What somebody said, or that they said nothing.
fn said_why(Pressing { person, via, act, why, .. }: &Pressing) -> String {
    match why.trim() {
        "" if *act == Act::FalsePositive => format!("{person} says by {via} that it was no attack"),
        "" => "no reason given".to_owned(),
        why => why.to_owned(),
    }
}

fn acknowledged(person: &Name, answer: IncidentAcknowledged) -> Outcome {
    let IncidentAcknowledged { id, acknowledged, waits_for_others, .. } = answer;
    match acknowledged.filter(|held| held.by != *person) {
        Some(held) => {
            let said = format!("{} looks after incident `{id}` already, since {:.0}", held.by, held.at.wall);
            let hint = "`Escalate` hands it on".to_owned();
            Outcome { ok: false, status: StatusCode::CONFLICT, said, hint: Some(hint) }
        }
        None if waits_for_others => {
            Outcome::done(format!("you have acknowledged incident `{id}`; others have to as well"))
        }
        None => Outcome::done(format!("you look after incident `{id}`")),
    }
}

/// Asks the engine by the message that was answered.
async fn asked<T: DeserializeOwned>(app: &App, pressing: &Pressing, wants: Request) -> Result<T, Problem> {
    let Pressing { person, via, mark, link, .. } = pressing;
    let pressed = Pressed {
        ladder: mark.ladder.clone(),
        generation: mark.generation,
        link: *link,
        by: person.clone(),
        via: (*via).into(),
        wants,
    };
    app.ask(if_still(app, person, &pressing.act, Request::Press(Box::new(pressed)))).await
}

//! A taking back whose end nobody saw: it is not told as standing, nor as gone.

use super::*;
use crate::run::fixtures::socket;
use quell_model::record::{UndoBegan, UndoFinished, UndoIntended};
use std::collections::VecDeque;

/// What the attempts to take it back say, in turn; the last once more.
type Ends = Arc<Mutex<VecDeque<ActionError>>>;

/// Acts at once; the world says that it stands, or nothing.
struct Firm {
    spec: &'static ActionSpec,
    ends: Ends,
    is_seen: bool,
}

#[async_trait::async_trait]
impl Action for Firm {
    fn spec(&self) -> &'static ActionSpec {
        self.spec
    }

    async fn plan(&self, _: &Json) -> Result<Plan, ActionError> {
        Ok(Plan::default())
    }

    async fn run(&self, _: &Admitted, _: &ActionContext) -> Result<Json, ActionError> {
        Ok(json!({}))
    }

    async fn verify(&self, _: &Plan, want: Want) -> Result<Truth, ActionError> {
        Ok(match want {
            Want::Acted => Truth::Holds,
            Want::Undone if self.is_seen => Truth::HoldsNot("it stands".into()),
            Want::Undone => Truth::CannotAsk,
        })
    }

    async fn undo(&self, _: &Admitted, _: &ActionContext) -> Result<Json, ActionError> {
        let mut ends = self.ends.lock().unwrap();
        let next = if ends.len() > 1 { ends.pop_front() } else { ends.front().cloned() };
        Err(next.unwrap())
    }
}

fn crew(ends: &Ends, is_seen: bool) -> Crew<Sandbox> {
    let plain = spec("process.freeze", Lane::Contain, Guarantee::ExactlyOnceInEffect);
    let spec = Box::leak(Box::new(ActionSpec { undoable: true, ..plain.clone() }));
    Crew::new(vec![Verb::Acts(Arc::new(Firm { spec, ends: Arc::clone(ends), is_seen }))])
}

impl Yard {
    /// As a crash leaves it, and an engine with this crew that starts on it.
    fn again_with(self, boot: &str, crew: Crew<Sandbox>) -> Self {
        let Self { stage, clock, things, playbook } = self;
        let Stage { core, journal, dir, .. } = stage;
        drop(core);
        journal.close();
        let definitions = definitions(playbook.clone());
        Self::crewed(dir, playbook, definitions, (clock, things), boot, Some(crew))
    }

    /// Once nothing is left to be tried: how the taking back and the run ended.
    fn how_it_was_taken_back(&mut self, run: &RunId, case: &str) -> (UndoFinished, record::RunFinished) {
        let clock = Arc::clone(&self.clock);
        self.stage.until(|stage| {
            clock.advance(Duration::from_secs(1));
            stage.core.is_idle()
        });
        self.stage.core.turn();
        let records = self.stage.journal.read(&StreamId::run(run), 1).unwrap();
        let told = records.iter().rev().find_map(|record| match &record.body {
            Body::UndoFinished(finished) => Some((**finished).clone()),
            _ => None,
        });
        let told = told.unwrap_or_else(|| panic!("{case}: {:?}", self.stage.story(run)));
        let Body::RunFinished(finished) = &records.last().unwrap().body else { panic!("{case}: it has not ended") };
        (told, (**finished).clone())
    }
}

/// (what the attempts say, the world sees it, an engine ended in the midst of an attempt, nobody knows)
#[test]
fn what_may_have_been_taken_back_is_stuck_and_told_as_that() {
    let unknown = || ActionError::Unknown { why: "no answer".into() };
    let no = || ActionError::give_up("there is no such thing");
    for (ends, is_seen, crashes, maybe) in [
        (vec![no()], false, false, false),
        (vec![unknown()], false, false, true),
        (vec![unknown(), no()], false, false, true),
        (vec![unknown(), no()], true, false, false),
        (vec![unknown()], true, false, false),
        (vec![no()], false, true, true),
        (vec![no()], true, true, false),
    ] {
        let case = format!("{ends:?} {is_seen} {crashes}");
        let ends: Ends = Arc::new(Mutex::new(ends.into()));
        let mut yard = Yard::new(playbook_of(vec![sets("one", &[], "process.freeze", "a")]));
        yard.stage.core.parts.crew = crew(&ends, is_seen);
        let run = yard.attack(1);
        let undo = Request::Undo { run: run.clone(), step: None, by: "ann".into(), why: "over".into(), way: socket() };
        if crashes {
            let (stream, part) = (StreamId::run(&run), record::Part { step: "one".into(), item: None });
            let expected = yard.stage.journal.last(&stream);
            let began = UndoBegan { only: None, by: "ann".into(), person: true, why: "over".into(), via: None };
            let (action, plan) = ("process.freeze".into(), Plan::default());
            let intended = UndoIntended { part, attempt: 1, action, plan };
            let records = vec![NewRecord::new(yard.clock.now(), began), NewRecord::new(yard.clock.now(), intended)];
            yard.stage.journal.written(Batch { stream, expected, records, durability: Durability::Written }).unwrap();
            yard = yard.again_with("b", crew(&ends, is_seen));
        } else {
            yard.stage.core.serve(undo).unwrap();
        }
        let (UndoFinished { unknown: is_unknown, proof, .. }, finished) = yard.how_it_was_taken_back(&run, &case);
        assert_eq!(finished.state, record::RunState::Stuck, "{case}");
        assert_eq!((is_unknown, proof.contains("it may have been taken back")), (maybe, maybe), "{case}: {proof}");
        let stands = "could not be taken back, and stands";
        let said = if maybe { "may stand, and nobody knows whether it was taken back" } else { stands };
        assert!(finished.summary.ends_with(said), "{case}: {}", finished.summary);
        assert!(yard.notes().iter().any(|note| note.contains(said)), "{case}: {:?}", yard.notes());
    }
}

/// Taken back at once; what the world says of it from then on, in turn, and the last once more. Before that, it stands.
struct Asked(&'static ActionSpec, Mutex<(bool, VecDeque<Result<Truth, ActionError>>)>);

#[async_trait::async_trait]
impl Action for Asked {
    fn spec(&self) -> &'static ActionSpec {
        self.0
    }

    async fn plan(&self, _: &Json) -> Result<Plan, ActionError> {
        Ok(Plan::default())
    }

    async fn run(&self, _: &Admitted, _: &ActionContext) -> Result<Json, ActionError> {
        Ok(json!({}))
    }

    async fn verify(&self, _: &Plan, want: Want) -> Result<Truth, ActionError> {
        if want == Want::Acted {
            return Ok(Truth::Holds);
        }
        let mut at = self.1.lock().unwrap();
        let (true, says) = &mut *at else { return Ok(Truth::HoldsNot("it stands".into())) };
        let next = if says.len() > 1 { says.pop_front() } else { says.front().cloned() };
        next.unwrap()
    }

    async fn undo(&self, _: &Admitted, _: &ActionContext) -> Result<Json, ActionError> {
        self.1.lock().unwrap().0 = true;
        Ok(json!({}))
    }
}

/// (what the world says once it was taken back; how the run ends; what its proof says)
#[test]
fn nothing_is_told_as_undone_while_the_world_may_still_be_asked() {
    let away = || Err(ActionError::retry("nobody answers"));
    let forbidden = || Err(ActionError::give_up("forbidden"));
    for (says, end, proof) in [
        (vec![away(), Ok(Truth::Holds)], record::RunState::Undone, "it stood no more"),
        (vec![away()], record::RunState::Stuck, "it may have been taken back: the world could not be asked"),
        (vec![forbidden()], record::RunState::Undone, "the world could not be asked: "),
        (vec![Ok(Truth::CannotAsk)], record::RunState::Undone, "the world could not be asked"),
    ] {
        let case = format!("{says:?}");
        let plain = spec("process.freeze", Lane::Contain, Guarantee::ExactlyOnceInEffect);
        let spec = Box::leak(Box::new(ActionSpec { undoable: true, ..plain.clone() }));
        let mut yard = Yard::new(playbook_of(vec![sets("one", &[], "process.freeze", "a")]));
        yard.stage.core.parts.crew =
            Crew::new(vec![Verb::Acts(Arc::new(Asked(spec, Mutex::new((false, says.into())))))]);
        let run = yard.attack(1);
        let undo = Request::Undo { run: run.clone(), step: None, by: "ann".into(), why: "over".into(), way: socket() };
        yard.stage.core.serve(undo).unwrap();
        let (UndoFinished { proof: told, .. }, finished) = yard.how_it_was_taken_back(&run, &case);
        assert!(told.contains(proof), "{case}: {told}");
        assert_eq!(finished.state, end, "{case}");
    }
}

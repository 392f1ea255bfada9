//! Somebody is told of an incident until somebody answers: over silence, answers, channels that fail, and the engine's death.

mod asked;
mod holes;
mod late;
mod links;
mod unanswered;
mod ways;

use super::*;
use crate::escalation::Escalation;
use crate::escalation::channels::{Channels, Email};
use crate::escalation::policy::{Ack, Policy, Route, Step as Rung, Target};
use crate::load::SecretFrom;
use crate::run::pages::Post;
use crate::run::{Pressed, Turned};
use quell_model::LadderId;
use quell_model::notice::{Channel, Letter, Receipt, SendError, State, To};
use quell_model::people::Person;
use quell_model::record::{LadderChange, PageState, Place};

pub(super) const MINUTE: Duration = Duration::from_secs(60);

/// What a channel says to each page that it is given, the last one for ever.
#[derive(Clone)]
pub(super) enum Says {
    Takes,
    /// It is where it is read, under a name.
    Delivers,
    Later,
    /// Not before so much time has gone by.
    LeaveAlone(Duration),
    Never,
    Nothing,
    Dies,
}

/// A channel of the test's own, which keeps what it was given.
pub(super) struct Tape {
    got: Mutex<Vec<Letter>>,
    says: Mutex<Vec<Says>>,
}

impl Tape {
    pub(super) fn new(says: &[Says]) -> Arc<Self> {
        Arc::new(Self { got: Mutex::default(), says: Mutex::new(says.iter().rev().cloned().collect()) })
    }

    pub(super) fn got(&self) -> Vec<Letter> {
        self.got.lock().unwrap().clone()
    }

    /// To whom, why, and whether as a repeat.
    pub(super) fn told(&self) -> Vec<String> {
        let told = |letter: Letter| {
            let to = match letter.page.to {
                To::Person(name) => name.to_string(),
                To::Channel(name) => format!("#{name}"),
            };
            format!("{to}: {}{}", letter.notice.because, if letter.repeat { " (repeat)" } else { "" })
        };
        self.got().into_iter().map(told).collect()
    }
}

#[async_trait::async_trait]
impl Channel for Tape {
    async fn send(&self, letter: &Letter) -> Result<Receipt, SendError> {
        self.got.lock().unwrap().push(letter.clone());
        let says = {
            let mut says = self.says.lock().unwrap();
            if says.len() > 1 { says.pop().unwrap() } else { says[0].clone() }
        };
        match says {
            Says::Takes => Ok(Receipt::Handed { reference: None }),
            Says::Delivers => {
                let reference = letter.earlier.clone().unwrap_or_else(|| format!("m-{}", letter.key.as_str()));
                Ok(Receipt::Delivered { reference: Some(reference) })
            }
            Says::Later => Err(SendError::Later { why: "421 busy".into(), after: None }),
            Says::LeaveAlone(after) => Err(SendError::Later { why: "429 slower".into(), after: Some(after) }),
            Says::Never => Err(SendError::Never { why: "550 no".into() }),
            Says::Nothing => std::future::pending().await,
            Says::Dies => panic!("the channel has a mistake"),
        }
    }
}

pub(super) fn rung(of: &[&str], minutes: u32, ack: Ack) -> Rung {
    let notify = of.iter().map(|name| Target::Person((*name).into())).collect();
    Rung { notify, by: Vec::new(), wait: MINUTE * minutes, ack }
}

/// ana, then bo; at last the lead.
pub(super) fn escalation(first: Rung) -> Escalation {
    let mut escalation = Escalation { routes: Vec::new(), ..Escalation::default() };
    for name in ["ana", "bo", "lead"] {
        let person = Person { name: name.into(), email: Some(format!("{name}@example.org")), ..Person::default() };
        escalation.people.people.insert(name.into(), person);
    }
    escalation.channels = Channels {
        console: true,
        email: Some(Email {
            smtp: SecretFrom::Env("SMTP_URL".into()),
            user: None,
            password: None,
            from: "q@example.org".into(),
        }),
        ..Channels::default()
    };
    let policy = Policy {
        steps: vec![first, rung(&["bo"], 10, Ack::Any)],
        last_resort: vec![Target::Person("lead".into())],
        ack_timeout: Some(MINUTE * 30),
        ..Policy::default()
    };
    escalation.policies.insert("security".into(), policy);
    escalation.routes.push(Route { when: None, policy: "security".into() });
    escalation
}

pub(super) struct Night {
    pub(super) yard: Yard,
    pub(super) escalation: Arc<Escalation>,
    pub(super) mail: Arc<Tape>,
    pub(super) console: Arc<Tape>,
}

impl Night {
    pub(super) fn new(first: Rung, mail: &[Says]) -> Self {
        Self::of(playbook_of(vec![sets("one", &[], "process.freeze", "a")]), escalation(first), mail)
    }

    pub(super) fn of(mut playbook: Playbook, escalation: Escalation, mail: &[Says]) -> Self {
        playbook.text = "pinned".into();
        let clock = Arc::new(SimulatedClock::new(SystemClock.now()));
        let escalation = Arc::new(escalation);
        let (mail, console) = (Tape::new(mail), Tape::new(&[Says::Takes]));
        let parts = (playbook, clock, Arc::default());
        let yard = Self::yard(tempfile::tempdir().unwrap(), parts, "b", &escalation, (&mail, &console));
        Self { yard, escalation, mail, console }
    }

    fn yard(
        dir: tempfile::TempDir,
        (playbook, clock, things): (Playbook, Arc<SimulatedClock>, Arc<Things>),
        boot: &str,
        escalation: &Arc<Escalation>,
        (mail, console): (&Arc<Tape>, &Arc<Tape>),
    ) -> Yard {
        let channels: [(Name, Arc<dyn Channel>); 2] =
            [("email".into(), mail.clone()), ("console".into(), console.clone())];
        let definitions = Definitions {
            escalation: Some(Arc::clone(escalation)),
            post: Post::new(channels.into()),
            people: Arc::new(escalation.people.clone()),
            ..definitions(playbook.clone())
        };
        Yard::with(dir, playbook, definitions, clock, things, boot)
    }

    /// The engine dies, and another starts.
    pub(super) fn again(self, boot: &str, says: &[Says]) -> Self {
        let Self { yard: Yard { stage, clock, things, playbook }, escalation, mail, console } = self;
        let Stage { core, journal, dir, .. } = stage;
        drop(core);
        journal.close();
        *mail.says.lock().unwrap() = says.iter().rev().cloned().collect();
        let yard = Self::yard(dir, (playbook, clock, things), boot, &escalation, (&mail, &console));
        Self { yard, escalation, mail, console }
    }

    pub(super) fn incident(&self) -> IncidentId {
        self.yard.stage.journal.incidents(None, 1).unwrap()[0].stream.as_incident().unwrap()
    }

    pub(super) fn records(&self) -> Vec<Body> {
        let stream = StreamId::ladder(&LadderId::incident(&self.incident()));
        self.yard.stage.journal.read(&stream, 1).unwrap().into_iter().map(|record| record.body).collect()
    }

    /// Receipts so far.
    pub(super) fn receipts(&self) -> Vec<PageState> {
        let state = |body| if let Body::PageReceipted(receipted) = body { Some(receipted.state) } else { None };
        self.records().into_iter().filter_map(state).collect()
    }

    /// Waits until so many receipts are there, which is when the channels have answered.
    pub(super) fn receive(&mut self, many: usize) {
        let stream = StreamId::ladder(&LadderId::incident(&self.incident()));
        let count = |stage: &Stage| {
            let records = stage.journal.read(&stream, 1).unwrap();
            records.iter().filter(|record| matches!(record.body, Body::PageReceipted(_))).count()
        };
        self.yard.stage.until(|stage| count(stage) >= many);
        assert_eq!(self.receipts().len(), many);
    }

    pub(super) fn pass(&mut self, time: Duration) {
        self.yard.pass(time);
    }

    pub(super) fn acks(&mut self, by: &str, generation: Option<u32>) -> Result<Json, Refusal> {
        let incident = self.incident();
        let (by, via, why) = (by.into(), "socket".into(), "on it".into());
        self.yard.ask(Request::Acknowledge { incident, acknowledged: true, why, by, via, generation })
    }

    pub(super) fn moves(&self) -> Vec<(u32, Place)> {
        let place = |body| if let Body::LadderMoved(moved) = body { Some((moved.generation, moved.to)) } else { None };
        self.records().into_iter().filter_map(place).collect()
    }
}

pub(super) fn to(step: u32) -> Place {
    Place::Step { round: 0, step }
}

#[test]
fn silence_goes_up_to_the_last_resort_and_stays_red() {
    let mut night = Night::new(rung(&["ana"], 5, Ack::Any), &[Says::Takes]);
    night.yard.attack(1);
    night.receive(1);
    for (minutes, receipts) in [(5, 2), (10, 3)] {
        night.pass(MINUTE * minutes - Duration::from_secs(1));
        assert_eq!(night.receipts().len(), receipts - 1, "before its time");
        night.pass(Duration::from_secs(1));
        night.receive(receipts);
    }
    let opened = "an incident of level high was opened";
    assert_eq!(
        night.mail.told(),
        [format!("ana: {opened}"), "bo: nobody answered in time".into(), "lead: nobody answered in time".into()]
    );
    assert_eq!(night.moves(), [(1, to(0)), (1, to(1)), (1, Place::LastResort)]);
    let keys: BTreeSet<_> = night.mail.got().iter().map(|letter| letter.key.clone()).collect();
    assert_eq!(keys.len(), 3);
    night.pass(MINUTE * 600);
    assert_eq!(night.mail.got().len(), 3, "whoever slept through it is not told every minute");
    let first = night.mail.got().remove(0);
    assert_eq!((first.notice.title.as_str(), first.notice.generation, first.notice.stands()), ("A rule", 1, "open"));
}

#[test]
fn an_answer_ends_it_and_what_was_asked_before_counts_no_more() {
    let mut night = Night::new(rung(&["ana"], 5, Ack::Any), &[Says::Takes]);
    night.yard.attack(1);
    night.receive(1);
    assert_eq!(night.acks("ana", Some(1)).unwrap()["changed"], json!(true));
    night.pass(MINUTE * 29);
    assert_eq!(night.moves().len(), 1, "an acknowledged ladder tells nobody");
    night.pass(MINUTE);
    night.receive(2);
    assert_eq!(night.moves()[1], (2, to(0)), "nobody has moved it");
    let late = night.acks("ana", Some(1)).unwrap_err().to_string();
    night.yard.stage.settle();
    assert!(late.contains("has been raised anew"), "{late}");
    let changes = |night: &Night| {
        let change = |body| if let Body::LadderChanged(changed) = body { Some(changed.change) } else { None };
        night.records().into_iter().filter_map(change).collect::<Vec<_>>()
    };
    assert_eq!(changes(&night), [LadderChange::Answered, LadderChange::AnsweredTooLate]);
    night.acks("bo", None).unwrap();
    let incident = night.incident();
    let (by, via) = (Name::from("bo"), Name::from("socket"));
    night.yard.ask(Request::Escalate { incident, why: "not mine".into(), by, via }).unwrap();
    night.receive(3);
    assert_eq!(night.moves()[2], (3, to(1)), "the next one, at once");
    assert_eq!(night.mail.told()[2], "bo: bo hands it on: not mine");
}

#[test]
fn who_was_turned_away_is_kept_once_and_changes_nothing() {
    let mut night = Night::new(rung(&["ana"], 5, Ack::Any), &[Says::Takes]);
    night.yard.attack(1);
    night.receive(1);
    let incident = night.incident();
    let wants = |ladder: &str, by: &str, act: &str| {
        Request::TurnedAway(Box::new(Turned {
            ladder: ladder.into(),
            generation: 1,
            by: by.into(),
            via: "slack".into(),
            act: act.into(),
            why: "they are nobody".into(),
        }))
    };
    let turned = |ladder: &str, by: &str| wants(ladder, by, "resolve");
    for by in ["slack U1 (unverified)", "slack U1 (unverified)", "cy"] {
        night.yard.ask(turned(incident.as_str(), by)).unwrap();
    }
    // Of a thousand strangers the first are kept.
    (0..100)
        .for_each(|at| drop(night.yard.ask(turned(incident.as_str(), &format!("slack X{at} (unverified)"))).unwrap()));
    for _ in 0..2 {
        night.yard.ask(wants(incident.as_str(), "cy", "undo")).unwrap();
    }
    night.yard.ask(turned("i-none", "cy")).unwrap();
    night.yard.stage.settle();
    let kept = |night: &Night| {
        let of = |body| match body {
            Body::LadderChanged(changed) if changed.change == LadderChange::TurnedAway => Some(changed),
            _ => None,
        };
        night.records().into_iter().filter_map(of).collect::<Vec<_>>()
    };
    let all = kept(&night);
    assert_eq!(all.len(), 34, "32 strangers, and what somebody wanted who is known");
    assert_eq!((all[0].by.as_str(), all[1].by.as_str()), ("slack U1 (unverified)", "cy"));
    assert_eq!(all[1].why, "cy wanted `resolve`: they are nobody");
    let told = |night: &Night| {
        let view = crate::report::incident(&night.yard.stage.journal, &incident, crate::report::Wanted::default());
        let lines = view.unwrap().unwrap().timeline.into_iter().map(|line| line.text);
        lines.filter(|text| text.contains("had no effect")).count()
    };
    assert_eq!((all[33].why.as_str(), told(&night)), ("cy wanted `undo`: they are nobody", 34));
    // It goes on as if nobody had said anything, and so does another engine.
    let mut night = night.again("b", &[Says::Takes]);
    night.yard.ask(turned(incident.as_str(), "cy")).unwrap();
    night.pass(MINUTE * 5);
    night.receive(2);
    assert_eq!((night.moves(), kept(&night).len()), (vec![(1, to(0)), (1, to(1))], 34));
}

/// Whoever comes second to a message whose incident is over learns who was first.
#[test]
fn a_message_of_what_is_over_says_who_ended_it() {
    let mut night = Night::new(rung(&["ana"], 5, Ack::Any), &[Says::Takes]);
    night.yard.attack(1);
    night.receive(1);
    let incident = night.incident();
    let press = |by: &str| {
        let wants =
            Request::Resolve { incident: incident.clone(), why: String::new(), by: by.into(), via: "socket".into() };
        let (ladder, via) = (LadderId::incident(&incident), "slack".into());
        Request::Press(Box::new(Pressed { ladder, generation: 1, link: None, by: by.into(), via, wants }))
    };
    night.yard.ask(press("bo")).unwrap();
    night.yard.stage.settle();
    let refused = night.yard.ask(press("ana")).unwrap_err().to_string();
    assert!(refused.contains("is resolved already, by bo"), "{refused}");
}

#[test]
fn each_means_each() {
    let mut night = Night::new(rung(&["ana", "bo"], 5, Ack::Each), &[Says::Takes]);
    night.yard.attack(1);
    night.receive(2);
    for _ in 0..2 {
        let said = night.acks("ana", None).unwrap();
        assert_eq!((&said["state"], &said["changed"]), (&json!("open"), &json!(false)), "bo has not answered");
        assert_eq!(said["waits_for_others"], json!(true));
    }
    let said = night.acks("bo", None).unwrap();
    assert_eq!((&said["state"], &said["changed"]), (&json!("acknowledged"), &json!(true)));
    night.pass(MINUTE * 20);
    assert_eq!(night.moves().len(), 1);
}

#[test]
fn a_channel_that_is_busy_is_asked_again_and_one_that_refuses_is_not() {
    let mut night = Night::new(rung(&["ana"], 5, Ack::Any), &[Says::Later, Says::Later, Says::Takes]);
    night.yard.attack(1);
    night.receive(1);
    night.pass(Duration::from_secs(3));
    night.receive(2);
    night.pass(Duration::from_secs(6));
    night.receive(3);
    assert!(matches!(night.receipts()[..], [PageState::Waits { .. }, PageState::Waits { .. }, PageState::Sent(_)]));
    let keys: BTreeSet<_> = night.mail.got().iter().map(|letter| letter.key.clone()).collect();
    assert_eq!((night.mail.got().len(), keys.len()), (3, 1), "one page, tried three times");
    let mut night = Night::new(rung(&["ana"], 5, Ack::Any), &[Says::Never]);
    night.yard.attack(1);
    night.receive(2);
    assert_eq!(night.console.told(), ["ana: an incident of level high was opened"], "by the other way, at once");
    let because = &night.console.got()[0].page.because;
    assert!(because.contains("email did not take it: 550 no"), "{because}");
}

#[test]
fn a_channel_that_is_not_there_or_dies_sends_nothing_twice_and_leaves_nobody_out() {
    // Of two ways one is off: the other takes its page once.
    let mut first = rung(&["ana"], 5, Ack::Any);
    first.notify.push(Target::Channel("phone".into()));
    let mut night = Night::new(first, &[Says::Takes]);
    let escalation = Arc::make_mut(&mut night.escalation);
    let webhook = crate::escalation::channels::Webhook {
        template: crate::escalation::channels::Template::Json,
        url: SecretFrom::Env("URL".into()),
        secret: None,
    };
    escalation.channels.webhooks.insert("phone".into(), webhook);
    let mut night = night.again("b", &[Says::Takes]);
    night.yard.attack(1);
    night.receive(2);
    assert_eq!(night.mail.got().len(), 1);
    // One that dies says nothing: the page goes again, as a repeat.
    let mut night = Night::new(rung(&["ana"], 5, Ack::Any), &[Says::Dies, Says::Takes]);
    night.yard.attack(1);
    night.receive(1);
    night.pass(Duration::from_secs(3));
    night.receive(2);
    assert_eq!(night.mail.got().iter().map(|letter| letter.repeat).collect::<Vec<_>>(), [false, true]);
    // What the last resort puts off is printed meanwhile, once.
    let mut night = Night::new(rung(&["ana"], 5, Ack::Any), &[Says::Later]);
    Arc::make_mut(&mut night.escalation).policies.get_mut("security").unwrap().steps.clear();
    let mut night = night.again("b", &[Says::Later]);
    night.yard.attack(1);
    night.receive(2);
    night.pass(Duration::from_secs(3));
    night.receive(3);
    assert_eq!((night.console.got().len(), night.mail.got().len()), (1, 2));
    // Nobody takes anything: the terminal has the last word.
    let mut night = Night::new(rung(&["ana"], 5, Ack::Any), &[Says::Never]);
    let escalation = Arc::make_mut(&mut night.escalation);
    escalation.policies.get_mut("security").unwrap().last_resort = vec![Target::Person("gone".into())];
    escalation.policies.get_mut("security").unwrap().steps.truncate(0);
    let mut night = night.again("b", &[Says::Never]);
    night.yard.attack(1);
    night.receive(1);
    assert_eq!(night.console.told(), ["#console: an incident of level high was opened"]);
}

#[test]
fn an_incident_that_becomes_worse_begins_anew_also_when_quell_is_killed_before_it_says_so() {
    let mut night = Night::new(rung(&["ana"], 5, Ack::Any), &[Says::Takes]);
    night.yard.attack(1);
    night.receive(1);
    night.acks("ana", None).unwrap();
    let mut worse = detection("7", 2);
    worse.rule.level = quell_model::Level::Critical;
    Arc::make_mut(&mut worse.event).head.at = night.yard.clock.now();
    night.yard.stage.core.detections([worse]);
    // It dies before its next turn.
    let mut night = night.again("b", &[Says::Takes]);
    night.receive(2);
    assert_eq!(night.mail.told()[1], "ana: it is critical now");
    let line = night.yard.stage.journal.incidents(None, 1).unwrap()[0].line.clone().unwrap();
    assert!(line.standing().acknowledged.is_none());
}

#[test]
fn what_waits_before_a_full_channel_is_not_sent_after_the_answer() {
    // Two people, of whom none has so many that they would go together.
    let mut night = Night::new(rung(&["ana", "bo"], 5, Ack::Any), &[Says::Nothing]);
    night.flood(0..5, None);
    let mail = Arc::clone(&night.mail);
    night.yard.stage.until(|_| mail.got().len() == 8);
    let all = night.yard.stage.journal.incidents(None, 100).unwrap();
    let all: Vec<IncidentId> = all.iter().filter_map(|listed| listed.stream.as_incident()).collect();
    for incident in &all {
        let (by, via) = (Name::from("ana"), Name::from("socket"));
        let why = String::new();
        let ack =
            Request::Acknowledge { incident: incident.clone(), acknowledged: true, why, by, via, generation: None };
        night.yard.ask(ack).unwrap();
    }
    // The eight give up after their patience; the turn of the last two comes.
    night.pass(Duration::from_secs(31));
    let streams: Vec<StreamId> = all.iter().map(|id| StreamId::ladder(&LadderId::incident(id))).collect();
    let has = |stage: &Stage, stream: &StreamId| {
        let records = stage.journal.read(stream, 1).unwrap();
        records.iter().any(|record| matches!(record.body, Body::PageReceipted(_)))
    };
    night.yard.stage.until(|stage| streams.iter().all(|stream| has(stage, stream)));
    assert_eq!(night.mail.got().len(), 8, "nobody is told of what somebody looks after");
}

#[test]
fn who_takes_back_what_nobody_said_tells_nobody() {
    let mut night = Night::new(rung(&["ana"], 5, Ack::Any), &[Says::Takes]);
    night.yard.attack(1);
    night.receive(1);
    let incident = night.incident();
    let (by, via) = (Name::from("bo"), Name::from("socket"));
    let unack = || Request::Acknowledge {
        incident: incident.clone(),
        acknowledged: false,
        why: String::new(),
        by: by.clone(),
        via: via.clone(),
        generation: None,
    };
    night.yard.ask(unack()).unwrap();
    assert_eq!(night.moves().len(), 1);
    night.acks("ana", None).unwrap();
    night.yard.ask(unack()).unwrap();
    night.receive(2);
    assert_eq!(night.moves()[1], (2, to(0)));
    let list = |night: &Night| night.yard.stage.journal.incidents(None, 1).unwrap()[0].line.clone().unwrap();
    night.acks("ana", None).unwrap();
    night.pass(MINUTE * 29);
    let note = Request::Note { incident: night.incident(), text: "I am at it".into(), by: "ana".into() };
    night.yard.ask(note).unwrap();
    night.pass(MINUTE * 29);
    assert_eq!(night.moves().len(), 2, "somebody has moved it");
    assert!(list(&night).standing().acknowledged.is_some());
    night.pass(MINUTE);
    night.receive(3);
    assert!(list(&night).standing().acknowledged.is_none(), "the incident says what its ladder does");
}

#[test]
fn a_step_that_reaches_nobody_is_not_waited_for() {
    let mut night = Night::new(rung(&["gone"], 5, Ack::Any), &[Says::Takes]);
    night.yard.attack(1);
    night.receive(1);
    assert_eq!(night.mail.told(), ["bo: nobody could be reached so far"]);
    let nobody = |body| if let Body::LadderMoved(moved) = body { Some(moved.nobody) } else { None };
    let nobody: Vec<_> = night.records().into_iter().filter_map(nobody).flatten().collect();
    assert_eq!(nobody[0].target, "person gone");
}

#[test]
fn what_a_dead_engine_was_at_is_sent_again_under_its_key() {
    let mut night = Night::new(rung(&["ana"], 5, Ack::Any), &[Says::Nothing]);
    night.yard.attack(1);
    let mail = Arc::clone(&night.mail);
    night.yard.stage.until(|_| mail.got().len() == 1);
    let mut night = night.again("b", &[Says::Takes]);
    night.receive(1);
    let got = night.mail.got();
    assert_eq!((got.len(), &got[0].key, got[1].repeat), (2, &got[1].key, true));
    // What was taken is not sent again, and its wait goes on where it was, also over a boot.
    night.pass(MINUTE * 4);
    let mut night = night.again("c", &[Says::Takes]);
    night.pass(Duration::from_secs(59));
    assert_eq!(night.mail.got().len(), 2);
    night.pass(Duration::from_secs(2));
    night.receive(2);
    assert_eq!(night.mail.told()[2], "bo: nobody answered in time");
}

#[test]
fn who_was_told_is_told_that_it_is_over_and_who_comes_back_begins_anew() {
    let mut night = Night::new(rung(&["ana"], 5, Ack::Any), &[Says::Takes]);
    night.yard.attack(1);
    night.receive(1);
    let incident = night.incident();
    let resolve =
        Request::Resolve { incident: incident.clone(), why: "rebuilt".into(), by: "bo".into(), via: "socket".into() };
    night.yard.ask(resolve).unwrap();
    night.receive(2);
    assert_eq!(night.mail.told()[1], "ana: bo has resolved it: rebuilt");
    assert_eq!(night.mail.got()[1].notice.state, State::Over);
    night.yard.stage.until(|stage| {
        let records = stage.journal.read(&StreamId::ladder(&LadderId::incident(&incident)), 1).unwrap();
        matches!(records.last().unwrap().body, Body::LadderClosed(_))
    });
    let open = night.yard.stage.journal.open_streams().unwrap();
    assert!(!open.contains(&StreamId::ladder(&LadderId::incident(&incident))), "{open:?}");
    // Whoever follows a link of it is told from the journal, and the engine reads nothing for them.
    let ladder = LadderId::incident(&incident);
    let journal = night.yard.stage.journal.clone();
    let last = crate::report::last_notice(&journal, &ladder).unwrap().unwrap();
    assert_eq!((last.state, last.because.as_str()), (State::Over, "bo has resolved it: rebuilt"));
    assert_eq!(crate::report::last_notice(&journal, &"i-none".into()).unwrap(), None);
    let asked = night.yard.ask(Request::Notice { ladder, link: None });
    assert!(matches!(asked, Err(Refusal::NotFound { .. })), "{asked:?}");
    let open = |journal| crate::report::open_incidents(journal, 10).unwrap().1;
    assert_eq!(open(&journal), 0);
    let before = night.mail.got()[0].notice.generation;
    night
        .yard
        .ask(Request::Reopen { incident, why: "not done".into(), by: "bo".into(), via: "socket".into() })
        .unwrap();
    night.receive(3);
    assert_eq!(night.mail.told()[2], "ana: bo has opened it again: not done");
    assert!(night.mail.got()[2].notice.generation > before);
    let (all, many) = crate::report::open_incidents(&journal, 10).unwrap();
    assert_eq!((all.len(), many, &all[0].id), (1, 1, &night.incident()));
}

#[test]
fn the_past_and_who_has_no_policies_tell_nobody() {
    let mut night = Night::new(rung(&["ana"], 5, Ack::Any), &[Says::Takes]);
    let mut old = detection("7", 1);
    old.backfill = true;
    night.yard.stage.core.detections([old]);
    night.yard.stage.settle();
    let mut silent = Yard::new(playbook_of(vec![sets("one", &[], "process.freeze", "a")]));
    silent.attack(1);
    for yard in [&night.yard, &silent] {
        let streams = yard.stage.journal.streams().unwrap();
        assert!(streams.iter().any(|(stream, _)| stream.as_incident().is_some()));
        assert!(streams.iter().all(|(stream, _)| stream.as_ladder().is_none()), "{streams:?}");
    }
}

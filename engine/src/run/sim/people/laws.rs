//! What must hold of ladders, whatever a seed did.
//!
//! Owns the invariants; each is a sentence that names what broke it. Judges the channels' tape against the journal's records, by the
//! auditor's account of these and never by the engine's own.

use super::make::HANDS_ON;
use super::post::Given;
use crate::escalation::Escalation;
use crate::escalation::audit::{Account, Stands};
use crate::escalation::outbox::Outbox;
use crate::run::bundled::TOGETHER;
use crate::run::ladder::{NEEDLESS, ONLY_NOW};
use crate::run::sim::check::Streams;
use crate::run::sim::stage::Stage;
use quell_model::notice::{Page, PageKey, Receipt, To, Way};
use quell_model::record::{Carried, LadderChange, PageReceipted, PageState, Place, Queued};
use quell_model::{Body, Hash, LadderId, Name, Outcome, Record, StreamId};
use std::collections::{BTreeMap, BTreeSet};

/// Which channel takes keys.
pub(super) type Keyed<'a> = dyn Fn(&Way) -> bool + 'a;

/// An incident that goes on and a question that waits have a ladder each, a ladder of questions has one that waits, and what is live is
/// what its records say.
pub(super) fn live(stage: &Stage, one_boot: bool) -> Result<(), String> {
    let Some(life) = &stage.life else { return Ok(()) };
    super::told::of_incidents(&life.journal)?;
    let core = &life.core;
    let mut waiting: BTreeSet<LadderId> = BTreeSet::new();
    for (run, live) in &core.runs {
        waiting.extend(live.run.waiting().map(|(part, kind)| Carried::of(run, part, *kind).ladder()));
    }
    let open = core.ladders.all.iter().filter(|(_, outbox)| !outbox.is_over());
    let carried: BTreeSet<LadderId> =
        open.filter(|(_, outbox)| outbox.started.question.is_some()).map(|(id, _)| id.clone()).collect();
    if waiting != carried {
        return Err(format!("these questions wait: {waiting:?}; and these have ladders: {carried:?}"));
    }
    for (id, outbox) in core.ladders.all.iter().filter(|_| one_boot) {
        let records = life.journal.read(&StreamId::ladder(id), 1).map_err(|error| error.to_string())?;
        let Some(Body::LadderStarted(started)) = records.first().map(|first| &first.body) else {
            return Err(format!("ladder {id} does not begin with its start"));
        };
        let mut folded = Outbox::begun(started, records[0].at);
        records.iter().for_each(|record| folded.apply(record.at, &record.body));
        if folded != *outbox {
            return Err(format!("ladder {id} is not what its records make of it:\n{folded:#?}\n{outbox:#?}"));
        }
    }
    Ok(())
}

/// Everything that the records and the tape must say of each other.
pub(super) fn of_all(
    (streams, tape): (&Streams, &[Given]),
    escalation: &Escalation,
    keyed: &Keyed<'_>,
) -> Result<(), String> {
    handed_on_once(streams)?;
    nobody_twice_with_others(streams, tape, keyed)?;
    for (stream, records) in streams {
        let Some(id) = stream.as_ladder() else { continue };
        let given: Vec<&Given> = tape.iter().filter(|given| given.ladder == id).collect();
        let bundles: Vec<&Given> = tape.iter().filter(|given| given.is_bundle).collect();
        let tale = Tale { barred: barred(streams, &id), ..Tale::default() };
        let broken = tale.told(&id, records, (&given, &bundles), escalation, keyed);
        broken.map_err(|why| {
            let given: Vec<String> = given.iter().map(|given| format!("{given:?}")).collect();
            format!("ladder {id}: {why}\n{}\n{}", shown(records), given.join("\n"))
        })?;
    }
    Ok(())
}

/// A step that hands on has ended where it has moved its ladder, and nowhere else, however often quell has died.
fn handed_on_once(streams: &Streams) -> Result<(), String> {
    let ladders = || streams.iter().filter(|(stream, _)| stream.as_ladder().is_some()).flat_map(|(_, records)| records);
    for (stream, records) in streams {
        let Some(run) = stream.as_run() else { continue };
        let is_done = |record: &&Record| match &record.body {
            Body::StepFinished(end) => end.part.step.as_str() == HANDS_ON && end.outcome == Outcome::Done,
            _ => false,
        };
        let is_its = |record: &&Record| match &record.body {
            Body::LadderRouted(routed) => routed.up_to.is_some() && routed.route.starts_with(&format!("run {run} of ")),
            _ => false,
        };
        let (ends, moves) = (records.iter().filter(is_done).count(), ladders().filter(is_its).count());
        if ends != moves {
            return Err(format!(
                "run {run} says {ends} times that it handed on, and has moved its ladder {moves} times"
            ));
        }
    }
    Ok(())
}

/// A page that goes with others is one page: where keys are taken nobody has it twice, whichever messages it was in.
fn nobody_twice_with_others(streams: &Streams, tape: &[Given], keyed: &Keyed<'_>) -> Result<(), String> {
    let mut members: BTreeMap<&PageKey, BTreeSet<&PageKey>> = BTreeMap::new();
    for receipted in streams.values().flatten().filter_map(receipt) {
        if let Some(together) = &receipted.together {
            members.entry(together).or_default().insert(&receipted.key);
        }
    }
    let mut reached: BTreeSet<&PageKey> = BTreeSet::new();
    for given in tape.iter().filter(|given| !given.cut) {
        let with = members.get(&given.key).filter(|_| given.is_bundle);
        if given.is_bundle && with.is_none() {
            return Err(format!("no ladder says that it is in the message {:?}", given.key));
        }
        let pages = with.map_or_else(|| vec![&given.key], |with| with.iter().copied().collect());
        let again: Vec<&&PageKey> =
            pages.iter().filter(|_| given.reached).filter(|key| reached.contains(*key)).collect();
        if !again.is_empty() && (keyed(&given.page.way) || !given.repeat) {
            return Err(format!("{} has pages {again:?} twice: {given:?}", given.page.to.shown()));
        }
        reached.extend(pages.into_iter().filter(|_| given.reached));
    }
    Ok(())
}

/// What is learned of a ladder, record by record.
#[derive(Default)]
struct Tale {
    /// Of each page: in which part of the story it was queued, and whether it tells of the end.
    queued: BTreeMap<PageKey, (usize, bool, Page)>,
    /// Moves, ends and beginnings so far, and where this life of the ladder begins among them.
    part: usize,
    begun: usize,
    is_over: bool,
    /// Calls of the step at hand that have not failed, and the ways that were tried to each.
    hopes: BTreeMap<PageKey, Page>,
    tried: Vec<Page>,
    place: Option<Place>,
    /// The generation of its last move, and the calls of its step that a channel was asked for.
    moved: Option<u32>,
    asked: BTreeSet<PageKey>,
    /// Those of the step before for which none was.
    unasked: BTreeSet<PageKey>,
    /// Who was told, and is not to hear of the end.
    left: BTreeSet<String>,
    /// Who has been called in this life of the ladder, and who is told of its end.
    called: BTreeSet<(To, Way)>,
    told: BTreeSet<(To, Way)>,
    links: BTreeSet<Hash>,
    late: BTreeSet<(Name, u32)>,
    references: BTreeSet<(To, Way)>,
    /// Ways by which no answer counts.
    barred: BTreeSet<Name>,
}

/// The ways by which no answer to what a ladder carries counts.
fn barred(streams: &Streams, ladder: &LadderId) -> BTreeSet<Name> {
    let Some((run, step, _)) = ladder.as_question() else { return BTreeSet::new() };
    let asked = streams.get(&StreamId::run(&run)).into_iter().flatten().filter_map(|record| match &record.body {
        Body::QuestionAsked(asked) if asked.part.step == step => Some(asked.not_via.clone()),
        _ => None,
    });
    asked.flatten().collect()
}

impl Tale {
    fn told(
        mut self,
        id: &LadderId,
        records: &[Record],
        (given, bundles): (&[&Given], &[&Given]),
        escalation: &Escalation,
        keyed: &Keyed<'_>,
    ) -> Result<(), String> {
        let mut account = Account::of(id, []);
        // One that stands for many was composed for all of them; what was answered meanwhile it does not know.
        let at = |seq: u64| given.iter().filter(move |given| given.seq == seq && !given.cut && !given.is_bundle);
        for record in records {
            match &record.body {
                Body::LadderMoved(moved) if self.moved == Some(moved.generation) => {
                    self.unasked = self.unasked(&account, given);
                }
                // What the move made needless is said right after it.
                Body::PageReceipted(receipted) if receipted.attempt == 0 => {}
                _ => self.unasked.clear(),
            }
            self.take(record, &account, escalation)?;
            account.take(record);
            // What the channels were given while this was the last record.
            for given in at(record.seq) {
                let (key, to) = (&given.key, given.page.to.shown());
                if !account.owed().any(|owed| owed == key) {
                    return Err(format!(
                        "{to} was given page {key:?} after record {}, and it was not owed",
                        record.seq
                    ));
                }
                if account.is_acknowledged() && !given.page.quiet {
                    return Err(format!("{to} was called after record {}, when somebody looked after it", record.seq));
                }
                if given.page.quiet && given.earlier.is_none() {
                    return Err(format!("{to} was given a correction of a message that they do not have"));
                }
                if given.is_over != matches!(account.stands, Stands::Over) || given.generation > account.generation {
                    return Err(format!("{to} was told what is not so after record {}: {given:?}", record.seq));
                }
            }
        }
        if given.iter().any(|given| given.seq > records.len() as u64 && !given.cut) {
            return Err("a channel was given a page of records that are not there".to_owned());
        }
        self.nobody_twice(given, keyed)?;
        self.as_told(records, given, bundles)
    }

    /// The calls of the step at hand that no channel was asked for.
    fn unasked(&self, account: &Account, given: &[&Given]) -> BTreeSet<PageKey> {
        let is_call = |key: &PageKey| self.queued.get(key).is_some_and(|(_, _, page)| !page.quiet);
        let is_asked = |key: &PageKey| self.asked.contains(key) || given.iter().any(|given| given.key == *key);
        account.owed().filter(|key| is_call(key) && !is_asked(key)).cloned().collect()
    }

    /// One record, with what the account said before it.
    fn take(&mut self, record: &Record, before: &Account, escalation: &Escalation) -> Result<(), String> {
        match &record.body {
            Body::LadderStarted(_) => {
                let (queued, part) = (std::mem::take(&mut self.queued), self.part + 1);
                // A message of one that was not closed is put right by the next.
                let is_closed = matches!(before.stands, Stands::Closed);
                let references = if is_closed { Default::default() } else { std::mem::take(&mut self.references) };
                *self = Self { queued, part, begun: part, references, barred: self.barred.clone(), ..Self::default() };
            }
            Body::LadderMoved(moved) => {
                self.part += 1;
                self.hopes.clear();
                self.tried.clear();
                self.place = Some(moved.to);
                self.moved = Some(moved.generation);
                self.asked.clear();
                self.queue(&moved.pages)?;
            }
            Body::LadderChanged(changed) => {
                let is_first = changed.link.is_none_or(|link| self.links.insert(link));
                if !is_first {
                    return Err(format!("record {}: a link works once, and was used again", record.seq));
                }
                let late = (changed.by.clone(), changed.generation);
                if changed.change == LadderChange::AnsweredTooLate && !self.late.insert(late) {
                    return Err(format!("record {}: {} was late before", record.seq, changed.by));
                }
                if changed.change == LadderChange::Answered && changed.generation != before.generation {
                    return Err(format!("record {}: a stale answer is taken down as one", record.seq));
                }
                if let Some(call) = changed.pages.iter().find(|queued| !queued.page.quiet) {
                    return Err(format!("record {}: {} is called by an answer", record.seq, call.page.to.shown()));
                }
                // It begins anew: what the last resort was at comes again.
                if matches!(changed.change, LadderChange::Unacknowledged | LadderChange::Raised | LadderChange::Grown) {
                    self.place = None;
                }
                self.queue(&changed.pages)?;
            }
            Body::LadderRouted(routed) if routed.up_to.is_some() && self.place == Some(Place::LastResort) => {
                self.place = None;
            }
            Body::LadderEnded(ended) => {
                self.part += 1;
                self.is_over = true;
                self.hopes.clear();
                self.tried.clear();
                self.left.extend(ended.nobody.iter().map(|nobody| nobody.target.clone()));
                self.queue(&ended.pages)?;
            }
            Body::PageReceipted(receipted) => self.receipted(record, receipted, before, escalation)?,
            Body::LadderClosed(_) if !self.all_told() => {
                return Err(format!(
                    "it was closed; {:?} were called, and {:?} told of its end",
                    self.called, self.told
                ));
            }
            _ => {}
        }
        Ok(())
    }

    fn all_told(&self) -> bool {
        self.called.iter().all(|there| self.told.contains(there) || self.left.contains(&there.0.shown()))
    }

    fn queue(&mut self, pages: &[Queued]) -> Result<(), String> {
        for Queued { key, page } in pages {
            let there = (page.to.clone(), page.way.clone());
            if page.quiet && !self.references.contains(&there) {
                return Err(format!(
                    "a correction goes to {}, who has no message that can be put right",
                    page.to.shown()
                ));
            }
            // The end asks nobody anything.
            if !page.quiet && !self.is_over && self.barred.contains(page.way.channel()) {
                return Err(format!("{} is asked by {:?}, and no answer by that counts", page.to.shown(), page.way));
            }
            if self.queued.insert(key.clone(), (self.part, self.is_over, page.clone())).is_some() {
                return Err(format!("two pages have the key {key:?}"));
            }
            if !page.quiet {
                self.tried.push(page.clone());
                self.hopes.insert(key.clone(), page.clone());
                if self.is_over {
                    self.told.insert(there);
                }
            }
        }
        Ok(())
    }

    fn receipted(
        &mut self,
        record: &Record,
        receipted: &PageReceipted,
        before: &Account,
        escalation: &Escalation,
    ) -> Result<(), String> {
        let Some((part, of_end, page)) = self.queued.get(&receipted.key).cloned() else {
            return Err(format!("record {}: a receipt of a page that nobody queued", record.seq));
        };
        let there = (page.to.clone(), page.way.clone());
        if let PageState::Sent(receipt) = &receipted.state {
            if let Receipt::Delivered { reference: Some(_) } = receipt {
                self.references.insert(there.clone());
            }
            // Also by a page of what was over, and is open again.
            if !page.quiet && (!of_end || part < self.begun) {
                self.called.insert(there);
            }
        }
        // What a channel was at, or what waited before one, says so.
        let is_needless = matches!(&receipted.state, PageState::Failed { why } if why == NEEDLESS);
        if is_needless && self.unasked.contains(&receipted.key) {
            let to = page.to.shown();
            return Err(format!("record {}: the next step came before a channel was asked to call {to}", record.seq));
        }
        // Another page may be at the same place for as long as its step lasts twice.
        let is_waited_for = matches!(&receipted.state, PageState::Waits { why, .. } if why == ONLY_NOW);
        if receipted.attempt > 0 || receipted.together.is_some() || is_waited_for {
            self.asked.insert(receipted.key.clone());
        }
        let is_owed = before.owed().any(|owed| *owed == receipted.key);
        self.queue(&receipted.instead)?;
        let is_failed = matches!(receipted.state, PageState::Failed { .. });
        let is_put_off = matches!(receipted.state, PageState::Waits { .. }) && receipted.attempt >= 2 && !of_end;
        let is_last = self.place == Some(Place::LastResort) && !of_end;
        let is_call = !page.quiet && is_owed;
        if is_failed {
            self.hopes.remove(&receipted.key);
        }
        // Silence is never the end, whoever the last resort is.
        let is_untaken = is_failed || matches!(receipted.state, PageState::Waits { .. }) && receipted.attempt > 0;
        let is_hope = |(key, page): (&PageKey, &Page)| *key != receipted.key && page.way != Way::Console;
        if is_last && is_call && is_untaken && !(is_failed && self.hopes.iter().any(is_hope)) {
            let is_printed = self.tried.iter().any(|page| page.way == Way::Console);
            if !is_printed {
                return Err(format!("record {}: the last resort is not told, and nothing is printed", record.seq));
            }
        }
        if is_call && (is_failed || is_put_off) {
            // Nobody is left out: another page still may reach them, or there is no other way.
            for name in page.people() {
                let to = To::Person(name.clone());
                let console = is_failed && (is_last || escalation.channels.console);
                let mut ways = escalation.ways_to(name, &[]);
                ways.retain(|way| is_failed || *way != Way::Console);
                ways.extend(console.then_some(Way::Console));
                ways.retain(|way| !self.barred.contains(way.channel()));
                let mut others = self.hopes.iter().filter(|(key, _)| **key != receipted.key);
                let is_hoped = others.any(|(_, page)| page.tells(&to));
                let left = ways.iter().find(|way| !self.tried.iter().any(|page| page.tells(&to) && page.way == **way));
                if let (false, Some(way)) = (is_hoped, left) {
                    return Err(format!("record {}: {name} is left out, and could be told by {way:?}", record.seq));
                }
            }
        }
        Ok(())
    }

    /// Nobody is told the same twice where keys are taken; elsewhere a second time says that it is one.
    fn nobody_twice(&self, given: &[&Given], keyed: &Keyed<'_>) -> Result<(), String> {
        let mut reached: BTreeMap<&PageKey, &Given> = BTreeMap::new();
        let mut calls: BTreeSet<(usize, &To, &Way)> = BTreeSet::new();
        // What came before a power cut was perhaps never written: its key may mean another page now.
        for given in given.iter().filter(|given| given.reached && !given.cut) {
            let to = given.page.to.shown();
            let is_again = reached.insert(&given.key, given).is_some();
            if is_again && keyed(&given.page.way) {
                return Err(format!("{to} was told twice by a channel that takes keys"));
            }
            if is_again && !given.repeat {
                return Err(format!("{to} was told twice, and not that it is a repeat"));
            }
            let Some((part, ..)) = self.queued.get(&given.key) else { continue };
            let is_first = is_again || given.page.quiet || calls.insert((*part, &given.page.to, &given.page.way));
            if !is_first {
                return Err(format!("{to} was called twice by one step, by {:?}", given.page.way));
            }
        }
        Ok(())
    }

    /// What is taken down as sent was said to be; of whatever was given to a channel the journal says what came of it.
    fn as_told(&self, records: &[Record], given: &[&Given], bundles: &[&Given]) -> Result<(), String> {
        let receipts: BTreeSet<&PageKey> = records.iter().filter_map(receipt).map(|receipted| &receipted.key).collect();
        // One that stands for many has a key of its own; each of its pages has its receipt.
        let mut single = given.iter().filter(|given| !given.is_bundle);
        if let Some(given) = single.find(|given| !given.cut && !receipts.contains(&given.key)) {
            return Err(format!("nobody says what became of page {:?}, which a channel was given", given.key));
        }
        let sent = records.iter().filter_map(receipt).filter_map(|receipted| match &receipted.state {
            PageState::Sent(receipt) => Some((&receipted.key, receipt)),
            PageState::Waits { .. } | PageState::Failed { .. } => None,
        });
        for (key, receipt) in sent {
            let (Receipt::Handed { reference } | Receipt::Delivered { reference }) = receipt;
            let together = reference.as_ref().and_then(|name| name.strip_prefix(TOGETHER)?.split_once(": "));
            if let Some((_, bundle)) = together {
                if !bundles.iter().any(|given| given.key.as_str() == bundle && given.took.is_some()) {
                    return Err(format!(
                        "page {key:?} is taken as sent with others, and no channel took such a message"
                    ));
                }
                continue;
            }
            if !given.iter().any(|given| given.key == *key && given.took.as_ref() == Some(reference)) {
                return Err(format!("page {key:?} is taken as sent, and its channel did not say so"));
            }
        }
        let references: BTreeMap<(&To, &Way), BTreeSet<&String>> =
            given.iter().fold(BTreeMap::new(), |mut all, given| {
                let of = all.entry((&given.page.to, &given.page.way)).or_insert_with(BTreeSet::new);
                of.extend(given.took.iter().flatten());
                all
            });
        let made_up = given.iter().find(|given| {
            let known = &references[&(&given.page.to, &given.page.way)];
            given.earlier.as_ref().is_some_and(|earlier| !known.contains(earlier))
        });
        made_up.map_or(Ok(()), |given| Err(format!("{given:?} names a message that its channel never gave")))
    }
}

fn receipt(record: &Record) -> Option<&PageReceipted> {
    match &record.body {
        Body::PageReceipted(receipted) => Some(receipted),
        _ => None,
    }
}

/// Nobody has answered for days: whoever is last was told, or it is over.
pub(super) fn at_rest(account: &Account) -> Result<(), String> {
    let is_at_rest = match &account.stands {
        Stands::Closed | Stands::Acknowledged(_, None) => true,
        Stands::Exhausted => account.place == Some(Place::LastResort),
        Stands::Over | Stands::Climbing(..) | Stands::Acknowledged(_, Some(_)) => false,
    };
    if is_at_rest { Ok(()) } else { Err(format!("it stands at {:?} for days", account.stands)) }
}

/// Records, a line each.
pub(super) fn shown(records: &[Record]) -> String {
    let line = |record: &Record| format!("{} at {:?}: {:?}", record.seq, record.at.boot_ns, record.body);
    records.iter().map(line).collect::<Vec<_>>().join("\n")
}

//! Law: whatever calls come in whatever order, each stream is exactly what its calls said, also over restarts.

use super::basics::{append, notes};
use crate::store::{Health, Journal};
use proptest::prelude::*;
use quell_model::{Body, Durability, Seq, StreamId};
use std::collections::BTreeMap;

const STREAMS: [&str; 4] = ["system", "run/a", "run/b", "incident/c"];

#[derive(Clone, Debug)]
enum Call {
    Written(usize, u64),
    Submit(Vec<(usize, u64)>, bool),
    SubmitAndWait(usize),
    Wrong(usize),
    Reopen,
}

fn call() -> impl Strategy<Value = Call> {
    let stream = 0..STREAMS.len();
    prop_oneof![
        4 => (stream.clone(), 0..4u64).prop_map(|(stream, count)| Call::Written(stream, count)),
        4 => (proptest::collection::vec((stream.clone(), 0..4u64), 0..4), any::<bool>())
            .prop_map(|(parts, synced)| Call::Submit(parts, synced)),
        1 => stream.clone().prop_map(Call::SubmitAndWait),
        1 => stream.prop_map(Call::Wrong),
        1 => Just(Call::Reopen),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn streams_are_what_the_calls_said(calls in proptest::collection::vec(call(), 1..60)) {
        let dir = tempfile::tempdir().unwrap();
        let mut journal = Journal::open(dir.path()).unwrap();
        let mut model: BTreeMap<usize, Seq> = BTreeMap::new();
        for call in calls {
            match call {
                Call::Written(stream, count) => {
                    let head = model.entry(stream).or_default();
                    journal.written(notes(STREAMS[stream], *head, count, Durability::Written)).unwrap();
                    *head += count;
                }
                Call::Submit(parts, synced) => {
                    let durability = if synced { Durability::Synced } else { Durability::Written };
                    let batch = |(stream, count)| {
                        let head = model.entry(stream).or_default();
                        *head += count;
                        notes(STREAMS[stream], *head - count, count, durability)
                    };
                    let batches = parts.into_iter().map(batch).collect();
                    journal.submit(batches, Box::new(|answer| assert!(answer.is_ok(), "{answer:?}")));
                }
                Call::SubmitAndWait(stream) => {
                    let head = model.entry(stream).or_default();
                    append(&journal, vec![notes(STREAMS[stream], *head, 1, Durability::Synced)]).unwrap();
                    *head += 1;
                }
                Call::Wrong(stream) => {
                    let head = model.get(&stream).copied().unwrap_or(0);
                    append(&journal, vec![notes(STREAMS[stream], head + 1, 1, Durability::Written)]).unwrap_err();
                    journal.written(notes(STREAMS[stream], head + 1, 1, Durability::Written)).unwrap_err();
                }
                Call::Reopen => {
                    journal.close();
                    journal = Journal::open(dir.path()).unwrap();
                }
            }
        }
        append(&journal, Vec::new()).unwrap();
        prop_assert_eq!(journal.verify().unwrap(), Vec::<String>::new());
        prop_assert_eq!(journal.health(), Health::default());
        for (stream, head) in model {
            let name = STREAMS[stream];
            let read = journal.read(&StreamId::from(name), 1).unwrap();
            prop_assert_eq!(read.len() as Seq, head);
            for (seq, record) in (1..).zip(read) {
                let Body::NoteAdded(note) = record.body else { panic!("{:?}", record.body) };
                prop_assert_eq!(note.text, format!("{name} {seq}"));
            }
        }
    }
}

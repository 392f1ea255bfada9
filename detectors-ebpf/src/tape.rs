//! Records as they came from the rings, kept and played again: what the way from a record to an event costs, without a
//! kernel that makes them meanwhile.
//!
//! Owns the bytes. A tape is in no lasting format: it is recorded and played by one program.

use crate::error::SensorError;
use crate::event::Context;
use crate::load::{self, Settings};
use crate::reader::World;
use crate::sensor::{SensorConfig, Sink};
use crate::watch::Watch;
use std::sync::Arc;

/// What the rings gave, in order.
#[derive(Clone, Debug, Default)]
pub struct Tape {
    bytes: Vec<u8>,
    ends: Vec<usize>,
    /// How many records the kernel side lost meanwhile.
    lost: u64,
}

impl Tape {
    /// Records until `ended` says so; it is asked whenever the rings are empty.
    ///
    /// # Errors
    /// When nothing can be seen here.
    pub fn record(config: &SensorConfig, mut ended: impl FnMut() -> bool) -> Result<Self, SensorError> {
        let settings = Settings {
            watch: Watch::new(&config.watch)?,
            ignore_pids: config.ignore_pids.clone(),
            budget: config.budget,
            ring: config.ring,
        };
        let mut loaded = load::load(&settings, false)?;
        loaded.reader_polls(true);
        let mut tape = Self::default();
        loop {
            let mut some = false;
            while let Some(record) = loaded.process_ring.next() {
                tape.keep(&record);
                some = true;
            }
            // A look at one record of the others, then again at processes: they come first.
            if let Some(record) = loaded.other_ring.next() {
                tape.keep(&record);
                some = true;
            }
            if !some && ended() {
                tape.lost = loaded.lost().into_iter().map(|(.., count)| count).sum();
                return Ok(tape);
            }
        }
    }

    fn keep(&mut self, record: &[u8]) {
        self.bytes.extend_from_slice(record);
        self.ends.push(self.bytes.len());
    }

    /// Each record's bytes.
    pub fn records(&self) -> impl Iterator<Item = &[u8]> {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        starts.zip(&self.ends).map(|(start, end)| &self.bytes[start..*end])
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// How many records are missing on it.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.lost
    }

    /// Hands every record to the sink as the sensor would: decoded, through a table of processes that is empty at first.
    ///
    /// # Errors
    /// A watched path that cannot be.
    pub fn play(&self, config: &SensorConfig, sink: Box<dyn Sink>) -> Result<(), SensorError> {
        let (cx, watch) = (Context::new(config.node.clone(), config.pods.clone()), Watch::new(&config.watch)?);
        let mut world = World::new(cx, watch, sink, Arc::default());
        for (at, record) in self.records().enumerate() {
            world.take_process(record);
            if at % TURN == TURN - 1 {
                world.cx.tick();
                world.sink.turn();
            }
        }
        world.sink.turn();
        Ok(())
    }
}

/// Records between two turns of the sink, as in the sensor when it is busy.
const TURN: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::tests::exec_bytes;
    use quell_model::{Class, Event};
    use std::sync::Mutex;

    struct Kept(Arc<Mutex<Vec<Class>>>);

    impl Sink for Kept {
        fn event(&mut self, event: &dyn Event) {
            self.0.lock().unwrap().push(event.head().class);
        }

        fn turn(&mut self) {}
    }

    #[test]
    fn what_was_kept_is_played_in_order_and_rubbish_passed_over() {
        let mut tape = Tape::default();
        tape.keep(&exec_bytes(5_000_001, 1_000_000_000, 0, 0).0);
        tape.keep(b"rubbish");
        tape.keep(&exec_bytes(5_000_002, 2_000_000_000, 5_000_001, 1_000_000_000).0);
        assert_eq!((tape.len(), tape.is_empty(), tape.lost(), tape.records().count()), (3, false, 0, 3));
        let seen = Arc::default();
        tape.play(&SensorConfig::new("n1".into()), Box::new(Kept(Arc::clone(&seen)))).unwrap();
        assert_eq!(*seen.lock().unwrap(), [Class::ProcessCreation; 2]);
    }
}

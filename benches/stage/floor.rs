//! The floor: the sensor's thread, which opens, kills and waits as soon as it sees the victim. No rules, no engine, no
//! journal, no proof beyond the pidfd.

use quell_detectors::{Sensor, SensorConfig, Sink};
use quell_engine::clock::SystemClock;
use quell_model::{Class, Clock, Event, Field, Subject};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// How long after the kernel's stamp.
#[derive(Clone, Copy)]
pub(crate) struct Moment {
    pub(crate) started: Duration,
    pub(crate) verified: Duration,
}

struct Killer(Arc<Mutex<Vec<Moment>>>);

impl Sink for Killer {
    fn event(&mut self, event: &dyn Event) {
        if event.head().class != Class::ProcessCreation || event.head().source.as_str() != "sensor" {
            return;
        }
        let is_victim =
            matches!(event.sigma("Image"), Some(Field::Str(image)) if image.ends_with("/quell-bench-victim"));
        let Subject::Process(id) = event.subject() else { return };
        if !is_victim {
            return;
        }
        let (kernel, started) = (event.head().at, SystemClock.now());
        let Some(pid) = i32::try_from(id.pid).ok().and_then(Pid::from_raw) else { return };
        let Ok(fd) = pidfd_open(pid, PidfdFlags::empty()) else { return };
        pidfd_send_signal(&fd, Signal::KILL).unwrap();
        while poll(&mut [PollFd::new(&fd, PollFlags::IN)], None).is_err() {}
        let verified = SystemClock.now();
        self.0.lock().unwrap().push(Moment { started: started.since(kernel), verified: verified.since(kernel) });
    }

    fn turn(&mut self) {}
}

/// What `attacks` costs down here; `None` where there is no sensor.
pub(crate) fn measure<T>(attacks: impl FnOnce() -> T) -> Option<Vec<Moment>> {
    let found = Arc::new(Mutex::new(Vec::new()));
    let running = match Sensor::start(SensorConfig::new("bench".into()), Box::new(Killer(Arc::clone(&found)))) {
        Ok(running) => running,
        Err(error) => {
            eprintln!("no floor: {error}");
            return None;
        }
    };
    let end = Instant::now() + Duration::from_secs(30);
    while !running.stats().scanned {
        assert!(Instant::now() < end, "the sensor was not armed within 30 s");
        std::thread::sleep(Duration::from_millis(10));
    }
    attacks();
    drop(running);
    let found = std::mem::take(&mut *found.lock().unwrap());
    Some(found)
}

//! Prints what the sensor sees, one JSON object a line, until Enter or the end of input: `cargo run -p quell-detectors
//! --example watch -- /etc/shadow '/home/*/.ssh/'`. The arguments are paths whose reads are told.

#![allow(clippy::print_stdout, reason = "printing is what it is for")]

use quell_detectors::{Sensor, SensorConfig, Sink};
use quell_model::Event;
use std::io::Read;

struct Print;

impl Sink for Print {
    fn event(&mut self, event: &dyn Event) {
        match serde_json::to_string(&event.to_owned()) {
            Ok(line) => println!("{line}"),
            Err(error) => eprintln!("an event that is no JSON: {error}"),
        }
    }

    fn turn(&mut self) {}
}

fn main() -> std::process::ExitCode {
    let config = SensorConfig { watch: std::env::args().skip(1).collect(), ..SensorConfig::new("here".into()) };
    match Sensor::start(config, Box::new(Print)) {
        Ok(running) => {
            // An input that cannot be read has ended too.
            let ended = std::io::stdin().read(&mut [0]);
            eprintln!("{ended:?}");
            eprintln!("{:#?}", running.stats());
            running.stop();
            std::process::ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{error}");
            std::process::ExitCode::FAILURE
        }
    }
}

//! `quell watch`: events as the sensor sees them, until Ctrl-C. Loads a sensor of its own; needs no daemon.

use super::{Exit, Fail, Term};
#[cfg(feature = "ebpf")]
use std::time::Duration;

/// See [`run`].
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  sudo quell watch\n  sudo quell watch --class process_creation --for 10s\n  sudo quell watch --json | jq -r 'select(.sigma.Image == \"/usr/bin/curl\") | .sigma.CommandLine'"
)]
pub(crate) struct Args {
    /// Only events of this class (may be given several times)
    #[arg(long, value_name = "CLASS")]
    class: Vec<String>,
    /// End after this long, as `10s`
    #[arg(long = "for", value_name = "D")]
    during: Option<String>,
    /// End after so many events
    #[arg(long, value_name = "N")]
    count: Option<u64>,
}

/// Prints one line an event.
#[cfg(feature = "ebpf")]
pub(crate) fn run(args: &Args, term: &Term) -> Result<Exit, Fail> {
    use super::event_line::{line, wait_for_end};
    use crate::daemon::{self, sensor_failed};
    use quell_detectors::{Sensor, SensorConfig};
    use quell_model::{Class, OwnedEvent};
    use std::sync::mpsc::{RecvTimeoutError, sync_channel};
    use std::time::Instant;

    let classes = args
        .class
        .iter()
        .map(|word| {
            Class::ALL.into_iter().find(|class| class.as_str() == word).ok_or_else(|| {
                let words: Vec<&str> = Class::ALL.iter().map(|class| class.as_str()).collect();
                let fail = Fail::usage(format!("`{word}` is no class of events"));
                fail.hint(match quell_model::mistake::nearest(word, words.iter().copied()) {
                    Some(near) => format!("did you mean `{near}`?"),
                    None => format!("expected one of {}", words.join(", ")),
                })
            })
        })
        .collect::<Result<Vec<_>, _>>()?;
    let during = match &args.during {
        Some(text) => Some(quell_engine::load::units::duration(text).ok_or_else(|| {
            Fail::usage(format!("`{text}` is no duration")).hint("expected a number with a unit, as `10s`")
        })?),
        None => None,
    };
    let end = wait_for_end()?;
    let (tell, heard) = sync_channel::<OwnedEvent>(AHEAD);
    let eye = Eye { classes, tell };
    let mut config = SensorConfig::new(daemon::node());
    config.watch = quell_playbooks::watched().iter().map(|&path| path.to_owned()).collect();
    let running = Sensor::start(config, Box::new(eye)).map_err(|e| sensor_failed(&e))?;
    term.note("watching; Ctrl-C ends");
    let until = during.map(|d| Instant::now() + d);
    let mut shown = 0;
    while !end.is_raised() && !term.is_deaf() && until.is_none_or(|until| Instant::now() < until) {
        match heard.recv_timeout(Duration::from_millis(50)) {
            Ok(event) => {
                if term.is_json() {
                    term.row(&event);
                } else {
                    term.line(line(&event, term));
                }
                shown += 1;
                if args.count.is_some_and(|most| shown >= most) {
                    break;
                }
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => break,
        }
    }
    // First of the two: a sensor that waits for room would wait for ever.
    drop(heard);
    drop(running);
    Ok(Exit::Right)
}

/// Without a sensor in this build.
#[cfg(not(feature = "ebpf"))]
pub(crate) fn run(_: &Args, _: &Term) -> Result<Exit, Fail> {
    Err(Fail::missing("this quell was built without the feature `ebpf`").hint("`quell detect` reads recorded events"))
}

/// Events that may wait for the terminal.
#[cfg(feature = "ebpf")]
const AHEAD: usize = 4096;

/// Hands events to the printing thread, and waits while that has no room: what is too much is then lost in the kernel,
/// which counts it by class and cgroup, and shown as a loss. The sensor is this command's own, so nobody else waits.
#[cfg(feature = "ebpf")]
struct Eye {
    classes: Vec<quell_model::Class>,
    tell: std::sync::mpsc::SyncSender<quell_model::OwnedEvent>,
}

#[cfg(feature = "ebpf")]
impl quell_detectors::Sink for Eye {
    fn event(&mut self, event: &dyn quell_model::Event) {
        let head = event.head();
        let scanned = head.source.as_str() == "scan";
        if scanned || !(self.classes.is_empty() || self.classes.contains(&head.class)) {
            return;
        }
        // Nobody listens once the command ends.
        self.tell.send(event.to_owned()).ok();
    }

    fn turn(&mut self) {}
}

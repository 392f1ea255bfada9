//! One event on one line, and how a stream is told to end.

use super::escape::escape;
use super::{Exit, Fail};
use quell_model::Stop;
#[cfg(feature = "ebpf")]
use {
    super::escape::clip,
    super::show::{SHOWN, time_of_day},
    super::term::{Ink, Term},
    quell_model::{Class, Event, Field, OwnedEvent},
};

/// Time, class, who, what.
#[cfg(feature = "ebpf")]
pub(super) fn line(event: &OwnedEvent, term: &Term) -> String {
    let own = |path: &str| match event.own(path) {
        Some(Field::Str(text)) => text.into_owned(),
        Some(Field::Int(n)) => n.to_string(),
        _ => String::new(),
    };
    let what = match event.head.class {
        Class::ProcessCreation | Class::ProcessFork => own("process.command_line"),
        Class::ProcessTermination => match own("exit.signal").as_str() {
            "" | "0" => format!("exit {}", own("exit.code")),
            signal => format!("signal {signal}"),
        },
        Class::NetworkConnection => format!(
            "{} {} {}:{} → {}:{}",
            own("network.protocol"),
            own("network.direction"),
            own("network.source_ip"),
            own("network.source_port"),
            own("network.destination_ip"),
            own("network.destination_port"),
        ),
        Class::FileEvent => format!("{} {}", own("file.operation"), own("file.path")),
        Class::Credentials => {
            format!("{} {} → {}", own("credentials.change"), own("credentials.old"), own("credentials.new"))
        }
        Class::ProcessAccess => format!("{} {}", own("access.kind"), own("access.target")),
        Class::Loss => format!("{} × {}: {}", own("loss.count"), own("loss.class"), own("loss.why")),
        Class::Record => clip(&event.sigma.get("eventName").map(ToString::to_string).unwrap_or_default(), 80),
    };
    let ink = if event.head.class == Class::Loss { Ink::Bad } else { Ink::Name };
    let (image, pid) = (own("process.image"), own("process.pid"));
    let who = if image.is_empty() { String::new() } else { format!("{}[{pid}]", clip(&image, 60)) };
    let left = format!(
        "{}  {}  {}",
        term.ink(Ink::Dim, &time_of_day(event.head.at.wall)),
        term.ink(ink, &format!("{:<19}", event.head.class.as_str())),
        who,
    );
    format!("{left}  {}", clip(&what, SHOWN).trim_end())
}

/// Raised by Ctrl-C, SIGTERM and a terminal that goes away, from now on.
pub(super) fn wait_for_end() -> Result<Stop, Fail> {
    use tokio::signal::unix::{SignalKind, signal};
    let stop = Stop::default();
    let raise = stop.clone();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|e| Fail::new(Exit::Missing, format!("no runtime: {e}")))?;
    let (mut term, mut int, mut hup) = {
        let _on = runtime.enter();
        let open =
            |kind| signal(kind).map_err(|e| Fail::missing(format!("no signal handler: {}", escape(&e.to_string()))));
        (open(SignalKind::terminate())?, open(SignalKind::interrupt())?, open(SignalKind::hangup())?)
    };
    // Lives as long as the process: it waits for nothing else.
    std::thread::Builder::new()
        .name("quell-signals".into())
        .spawn(move || {
            runtime.block_on(async {
                tokio::select! { _ = term.recv() => {}, _ = int.recv() => {}, _ = hup.recv() => {} }
            });
            raise.raise();
        })
        .map_err(|e| Fail::missing(format!("no thread: {e}")))?;
    Ok(stop)
}

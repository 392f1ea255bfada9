//! What happens, followed: the client's side of `GET /v1/stream`.
//!
//! Owns reading server-sent events and what their end means. Keeps true: what was told already is not told again, also when
//! the daemon closed the connection because this side took nothing for long (a pager that nobody scrolls).

use super::client::{Client, Coming};
use super::escape::{clip, escape};
use super::show::{SHOWN, time_of_day};
use super::term::Ink;
use super::{Exit, Fail, Term};
use crate::api::{End, EndReason, Gap};
use quell_engine::report::{Happening, TimelineLine};
use quell_model::{RunId, Stamp};
use std::collections::HashSet;
use std::time::{Duration, Instant};

/// A line that says nothing comes every quarter of a minute: after three that did not, nobody is there.
const SILENCE: Duration = Duration::from_secs(45);
/// No event is longer: a record of the journal is at most some megabytes.
const LONGEST: usize = 64 << 20;

/// One event as it came.
#[derive(Debug, Default, PartialEq, Eq)]
struct Event {
    id: Option<i64>,
    name: String,
    data: String,
}

/// A stream that was begun: what is read now comes before all that it will tell.
pub(super) struct Following<'a> {
    client: &'a Client,
    path: String,
    coming: Coming,
    text: Vec<u8>,
    last: Option<i64>,
    /// Something was told over this connection: where it breaks, another goes on.
    told: bool,
}

impl<'a> Following<'a> {
    /// Begins; `query` says what is of interest.
    pub(super) fn begin(client: &'a Client, query: &str) -> Result<Self, Fail> {
        let path = format!("/stream?{query}");
        let coming = client.open(&path, None)?;
        let mut following = Self { client, path, coming, text: Vec::new(), last: None, told: false };
        // The first says where it begins: whatever is asked from now on is of that moment or later.
        following.next(None)?;
        Ok(following)
    }

    /// Prints what happens, but for the lines that have been shown, until `is_last`, or nobody reads any more.
    pub(super) fn print(
        mut self,
        shown: &[TimelineLine],
        term: &Term,
        is_last: impl Fn(&Happening) -> bool,
    ) -> Result<(), Fail> {
        let shown: HashSet<(Stamp, Option<&RunId>, &str)> =
            shown.iter().map(|line| (line.at, line.run.as_ref(), line.text.as_str())).collect();
        while !term.is_deaf() {
            let Some(event) = self.next(None)? else { break };
            match event.name.as_str() {
                "record" => {
                    let happening: Happening = read(&event.data)?;
                    let text = happening.text.as_deref();
                    let is_known =
                        text.is_some_and(|text| shown.contains(&(happening.at, happening.run.as_ref(), text)));
                    if term.is_json() {
                        term.row(&happening);
                    } else if let Some(text) = text.filter(|_| !is_known) {
                        let time = term.ink(Ink::Dim, &time_of_day(happening.at.wall));
                        term.line(format!("  {time}  {}", clip(text, SHOWN)));
                    }
                    if is_last(&happening) {
                        return Ok(());
                    }
                }
                "gap" => {
                    let gap: Gap = read(&event.data)?;
                    term.warn(&format!("something that happened meanwhile cannot be told: {}", escape(&gap.why)));
                }
                "end" => self.ended(&event)?,
                _ => {}
            }
        }
        Ok(())
    }

    /// Asks whether it is so, and again whenever something has happened; false: it was not within this time.
    pub(super) fn until(
        mut self,
        patience: Duration,
        mut is_so: impl FnMut() -> Result<bool, Fail>,
    ) -> Result<bool, Fail> {
        let deadline = Instant::now() + patience;
        loop {
            if is_so()? {
                return Ok(true);
            }
            match self.next(Some(deadline))? {
                Some(event) if event.name == "end" => self.ended(&event)?,
                Some(_) => {}
                None => return Ok(false),
            }
        }
    }

    /// The daemon ends the stream: where it is only to be begun anew, it is.
    fn ended(&mut self, event: &Event) -> Result<(), Fail> {
        let end: End = read(&event.data)?;
        match end.why {
            EndReason::Revoked => self.go_on(),
            EndReason::Ending | EndReason::Broken => Err(Fail::new(Exit::Unreachable, end.text)),
        }
    }

    /// The next event; none: the deadline has come.
    fn next(&mut self, deadline: Option<Instant>) -> Result<Option<Event>, Fail> {
        loop {
            while let Some(end) = self.text.windows(2).position(|two| two == b"\n\n") {
                let event = parse(&String::from_utf8_lossy(&self.text[..end]));
                self.text.drain(..end + 2);
                self.last = event.id.or(self.last);
                self.told |= event.name == "record";
                if !event.data.is_empty() {
                    return Ok(Some(event));
                }
            }
            let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            if left.is_some_and(|left| left.is_zero()) {
                return Ok(None);
            }
            match self.client.piece(&mut self.coming, left.map_or(SILENCE, |left| left.min(SILENCE))) {
                Ok(Some(bytes)) if self.text.len() + bytes.len() <= LONGEST => self.text.extend_from_slice(&bytes),
                Ok(Some(_)) => return Err(Fail::new(Exit::Unreachable, "the daemon tells something that has no end")),
                Err(_) if left.is_some_and(|left| left < SILENCE) => return Ok(None),
                Ok(None) | Err(_) if self.told => self.go_on()?,
                Ok(None) => return Err(Fail::new(Exit::Unreachable, "the daemon broke off")),
                Err(fail) => return Err(fail),
            }
        }
    }

    /// Asks for what comes after the last that was told.
    fn go_on(&mut self) -> Result<(), Fail> {
        self.coming = self.client.open(&self.path, self.last)?;
        self.text.clear();
        self.told = false;
        Ok(())
    }
}

/// The fields of an event; of a comment nothing is left.
fn parse(text: &str) -> Event {
    let mut event = Event::default();
    for line in text.lines() {
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "id" => event.id = value.parse().ok(),
            "event" => value.clone_into(&mut event.name),
            "data" if event.data.is_empty() => value.clone_into(&mut event.data),
            "data" => event.data = format!("{}\n{value}", event.data),
            _ => {}
        }
    }
    event
}

fn read<T: serde::de::DeserializeOwned>(data: &str) -> Result<T, Fail> {
    serde_json::from_str(data).map_err(|e| {
        Fail::new(Exit::Unreachable, format!("what the daemon tells cannot be read: {e}"))
            .hint("is the daemon of another version? `quell status` shows it")
    })
}

#[cfg(test)]
mod tests {
    use super::super::Global;
    use super::super::place::SOCKET;
    use super::*;
    use std::io::{BufRead, BufReader, Write};
    use std::os::unix::net::UnixListener;
    use std::path::Path;
    use std::thread::JoinHandle;

    /// Somebody at the daemon's socket who tells this over one connection after the other, and notes what is asked.
    fn tells(dir: &Path, told: Vec<&'static str>) -> JoinHandle<Vec<String>> {
        let socket = UnixListener::bind(dir.join(SOCKET)).unwrap();
        std::thread::spawn(move || {
            let one = |text: &str| {
                let (mut stream, _) = socket.accept().unwrap();
                let (mut read, mut asked) = (BufReader::new(stream.try_clone().unwrap()), String::new());
                while !asked.ends_with("\r\n\r\n") && read.read_line(&mut asked).unwrap() > 0 {}
                write!(stream, "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n{text}").unwrap();
                asked
            };
            told.into_iter().map(one).collect()
        })
    }

    #[test]
    fn a_stream_that_breaks_goes_on_after_what_was_told_and_not_without_end() {
        let dir = tempfile::tempdir().unwrap();
        let somebody = tells(
            dir.path(),
            vec![
                "id: 4\nevent: begin\ndata: 4\n\nid: 5\nevent: record\ndata: five\n\nid: 6\nevent: rec",
                "id: 5\nevent: begin\ndata: 5\n\nid: 6\nevent: record\ndata: six\n\n",
                "id: 6\nevent: begin\ndata: 6\n\n",
            ],
        );
        let global =
            Global { json: false, data_dir: Some(dir.path().to_owned()), api: None, token_file: None, ca_file: None };
        let client = Client::new(&global).unwrap();
        let mut following = Following::begin(&client, "").unwrap();
        let mut told = Vec::new();
        let broke = loop {
            match following.next(None) {
                Ok(event) => told.extend(event.map(|event| event.data)),
                Err(fail) => break fail,
            }
        };
        assert_eq!(told, ["five", "5", "six", "6"], "what had come in part only is told whole");
        assert_eq!(broke.exit, Exit::Unreachable, "nothing was told over the last one");
        let asked: Vec<bool> = somebody.join().unwrap().iter().map(|asked| asked.contains("last-event-id")).collect();
        assert_eq!(asked, [false, true, true]);
    }

    #[test]
    fn an_event_is_read_field_by_field() {
        let event = parse("id: 7\nevent: record\ndata: {\"a\":\ndata: 1}\nretry: 3000");
        assert_eq!(event, Event { id: Some(7), name: "record".to_owned(), data: "{\"a\":\n1}".to_owned() });
        assert_eq!(parse(": alive"), Event::default());
    }
}

//! Connections between pods that were opened before anything happened, and go on: both ends say a word again and again, and keep what they hear.

#![allow(clippy::unwrap_used, reason = "a test: what cannot be done fails it")]

use crate::cluster::{Pod, until};

/// One of them.
pub(super) struct Talk<'p> {
    ends: [&'p Pod<'p>; 2],
    port: u16,
}

impl<'p> Talk<'p> {
    /// Goes on once this returns.
    pub(super) fn between(one: &'p Pod<'p>, other: &'p Pod<'p>, port: u16) -> Self {
        let talk = Self { ends: [one, other], port };
        // Nothing of it holds what `kubectl exec` waits for the end of.
        let says = |pod: &Pod<'_>, with: &str| {
            let line = format!(
                "((while echo word; do sleep 0.05; done) | nc {with} > /tmp/heard-{port}) </dev/null >/dev/null 2>&1 &"
            );
            pod.says(&["sh", "-c", &line]);
        };
        says(other, &format!("-l -p {port}"));
        until("it listens", || listens(other, port).then_some(()));
        says(one, &format!("{} {port}", other.ip()));
        until("both hear one another", || (talk.heard().iter().all(|count| *count > 20)).then_some(()));
        talk
    }

    /// How many bytes each end has heard.
    pub(super) fn heard(&self) -> [u64; 2] {
        let count = |pod: &Pod<'_>| {
            let line = format!("cat /tmp/heard-{} 2>/dev/null | wc -c", self.port);
            pod.says(&["sh", "-c", &line]).trim().parse().unwrap()
        };
        self.ends.map(count)
    }

    /// Waits until both have heard more.
    #[track_caller]
    pub(super) fn goes_on(&self) {
        let before = self.heard();
        let more = |now: [u64; 2]| now.iter().zip(before).all(|(now, before)| *now > before + 50);
        until("their connection goes on", || more(self.heard()).then_some(()));
    }
}

/// Whether something listens on a port of the pod's network, by proc_net_tcp(5): state 0A.
fn listens(pod: &Pod<'_>, port: u16) -> bool {
    let table = pod.says(&["cat", "/proc/net/tcp", "/proc/net/tcp6"]);
    table.lines().any(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        matches!(words[..], [_, local, _, "0A", ..] if local.ends_with(&format!(":{port:04X}")))
    })
}

/// What a pod hears of a server's `name`, or nothing.
pub(super) fn asks(pod: &Pod<'_>, address: &str, port: u16) -> String {
    let line =
        format!("printf 'GET /name HTTP/1.0\\r\\n\\r\\n' | timeout 5 nc -w 3 {address} {port} 2>/dev/null | tail -n 1");
    String::from_utf8(pod.exec(&["sh", "-c", &line]).stdout).unwrap().trim().to_owned()
}

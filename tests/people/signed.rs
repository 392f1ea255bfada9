//! What a request of Slack's is: its body, its headers, and how it is signed (docs.slack.dev/authentication/verifying-requests-from-slack).
//!
//! Owns the signing, apart from quell's own. Of the tests, and of the benchmark that clicks.

use super::{OLDER, SECRET};
use hmac::{Hmac, Mac};
use serde_json::{Value, json};
use sha2::Sha256;
use std::fmt::Write as _;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Longer than an answer takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(180);

/// One exchange, in HTTP 1.0: the answer ends with the connection. Gives the status and the body.
pub(super) fn exchange(port: u16, method: &str, path: &str, headers: &str, body: &str) -> (u16, String) {
    let mut socket = TcpStream::connect(("127.0.0.1", port)).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let head = format!("{method} {path} HTTP/1.0\r\nhost: test\r\n{headers}content-length: {}\r\n\r\n", body.len());
    socket.write_all((head + body).as_bytes()).unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{answer}"));
    (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
}

pub(super) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

/// The signature of a body by this secret at this time.
pub(super) fn signature(secret: &str, timestamp: &str, body: &str) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap();
    mac.update(format!("v0:{timestamp}:{body}").as_bytes());
    mac.finalize().into_bytes().iter().fold("v0=".to_owned(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    })
}

pub(super) fn form(parts: &[(&str, &str)]) -> String {
    form_urlencoded::Serializer::new(String::new()).extend_pairs(parts).finish()
}

/// A click, as Slack tells it: no two are the same, whoever clicks twice.
pub(super) fn click(user: &str, act: &str, mark: &str, hook: &str) -> Value {
    static CLICKS: AtomicU64 = AtomicU64::new(1);
    let trigger = format!("{}.33649436676", CLICKS.fetch_add(1, Ordering::Relaxed));
    let action = json!({ "type": "button", "block_id": "b", "action_id": format!("quell:{act}"), "value": mark });
    json!({
        "type": "block_actions", "user": { "id": user, "username": "ana", "team_id": "T0QUELL01" },
        "team": { "id": "T0QUELL01" }, "response_url": hook, "trigger_id": trigger, "actions": [action],
    })
}

/// A request of Slack's, which may be sent again as it is.
pub(super) struct Signed {
    pub(super) path: &'static str,
    pub(super) headers: String,
    pub(super) body: String,
}

impl Signed {
    pub(super) fn of(path: &'static str, body: String) -> Self {
        Self::by(SECRET, now(), path, body)
    }

    pub(super) fn by(secret: &str, at: u64, path: &'static str, body: String) -> Self {
        let (at, kind) = (at.to_string(), "application/x-www-form-urlencoded");
        let signature = signature(secret, &at, &body);
        let headers =
            format!("content-type: {kind}\r\nX-Slack-Request-Timestamp: {at}\r\nX-Slack-Signature: {signature}\r\n");
        Self { path, headers, body }
    }

    pub(super) fn by_the_older(path: &'static str, body: String) -> Self {
        Self::by(OLDER, now(), path, body)
    }

    pub(super) fn click(payload: &Value) -> Self {
        Self::of("/slack/interactive", form(&[("payload", &payload.to_string())]))
    }
}

//! Slack's Web API: one call, and why it came to nothing.
//!
//! Owns the connection, the token, and what each of Slack's words means for a page: later, never, or nobody knows. Never tries again: the
//! ladder does. Keeps true: the token goes over TLS or to this machine alone, and stands in no error; no answer of Slack is shown to
//! people but its word.

use super::reach::Within;
use crate::notify::with_sources;
use crate::text::one_line;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use quell_model::Secret;
use quell_model::notice::SendError;
use serde::Serialize;
use serde::de::DeserializeOwned;
use slack_morphism::errors::{SlackClientApiError, SlackClientError};
use slack_morphism::prelude::*;
use std::time::Duration;

/// Slack answers within a second or so; three calls of one page fit into what the ladder waits for a channel.
const PATIENCE: Duration = Duration::from_secs(9);
/// Who has not taken a connection of TCP by then is not there.
const CONNECT: Duration = Duration::from_secs(4);
/// Nor who has not told where it is and spoken TLS as well: less than the call has, so that it is known that it was not made.
const REACH: Duration = Duration::from_secs(6);
/// What Slack asks to wait is seconds; nothing longer than a day is believed.
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);

/// What is wrong with a workspace's settings.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WrongWorkspace {
    /// Where its API is.
    #[error(
        "`{0}` is no address that a token goes to; hint: `https://slack.com/api`; without TLS only to this machine"
    )]
    Url(String),
    /// The token.
    #[error("what `bot_token` gives is no token; hint: the Bot User OAuth Token of the app, which begins with `xoxb-`")]
    Token,
    /// TLS.
    #[error("TLS cannot be set up: {0}; hint: the machine needs its root certificates (Debian: `ca-certificates`)")]
    Tls(String),
}

/// What calls go over.
type Reaches = SlackClientHyperConnector<Within<HttpsConnector<HttpConnector>>>;

/// See the module.
pub(super) struct Web {
    client: SlackClient<Reaches>,
    token: SlackApiToken,
}

/// Why a call came to nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Failed {
    /// It was not made: nobody is there.
    Unsent(String),
    /// Slack says no, by this word.
    Refused {
        /// As its documentation has it.
        word: String,
        /// The scope that it wants.
        needed: Option<String>,
    },
    /// Too much was said there.
    TooMuch(Option<Duration>),
    /// An HTTP status that is none of success.
    Status(u16),
    /// No answer came, or none that is Slack's.
    Unanswered(String),
}

impl Web {
    /// A connection to the API there. Connects when the first call is made.
    ///
    /// # Errors
    /// What is wrong with the settings.
    pub(super) fn new(api_url: &str, token: &Secret) -> Result<Self, WrongWorkspace> {
        Self::reached(api_url, token, REACH)
    }

    fn reached(api_url: &str, token: &Secret, bound: Duration) -> Result<Self, WrongWorkspace> {
        let url = api_url.trim_end_matches('/');
        if !may_have_the_token(url) {
            return Err(WrongWorkspace::Url(url.to_owned()));
        }
        let text = token.expose();
        if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(WrongWorkspace::Token);
        }
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_connect_timeout(Some(CONNECT));
        let tls = HttpsConnectorBuilder::new().with_native_roots();
        let tls = tls.map_err(|error| WrongWorkspace::Tls(error.to_string()))?;
        let https = tls.https_or_http().enable_http1().wrap_connector(tcp);
        let connects = Within { bound, connects: https };
        let connector = SlackClientHyperConnector::with_connector(connects).with_slack_api_url(url);
        let token = SlackApiToken::new(SlackApiTokenValue::new(text.to_owned()));
        Ok(Self { client: SlackClient::new(connector), token })
    }

    /// One call of a method. Only what is asked of the answer is read: what Slack adds to it breaks nothing.
    ///
    /// # Errors
    /// Why it came to nothing, or may have.
    pub(super) async fn call<R: DeserializeOwned + Send>(
        &self,
        method: &str,
        request: &(impl Serialize + Sync + Send),
    ) -> Result<R, Failed> {
        let session = self.client.open_session(&self.token);
        let call = session.http_session_api.http_post(method, request, None);
        match tokio::time::timeout(PATIENCE, call).await {
            Ok(answer) => answer.map_err(Failed::from),
            Err(_) => Err(Failed::Unanswered(format!("Slack has not answered within {PATIENCE:?}"))),
        }
    }
}

/// Whether a token may be sent there: over TLS, or to this machine.
#[must_use]
pub fn may_have_the_token(url: &str) -> bool {
    let rest = match url.split_once("://") {
        Some(("https", rest)) => return !rest.is_empty() && !rest.contains(['@', '?', '#']),
        Some(("http", rest)) => rest,
        _ => return false,
    };
    let authority = rest.split('/').next().unwrap_or_default();
    let port = ["127.0.0.1", "localhost", "[::1]"].into_iter().find_map(|here| authority.strip_prefix(here));
    port.is_some_and(|port| port.is_empty() || port.strip_prefix(':').is_some_and(|port| port.parse::<u16>().is_ok()))
}

impl From<SlackClientError> for Failed {
    fn from(error: SlackClientError) -> Self {
        match error {
            SlackClientError::ApiError(error) => refused(&error),
            SlackClientError::RateLimitError(limit) => Self::TooMuch(limit.retry_after.map(|after| after.min(LONGEST))),
            SlackClientError::HttpError(error) => Self::Status(error.status_code.as_u16()),
            SlackClientError::HttpProtocolError(error) => {
                let cause = error.cause.as_deref();
                let hyper = cause.and_then(|cause| cause.downcast_ref::<hyper_util::client::legacy::Error>());
                let why = cause
                    .map_or_else(|| "the connection broke".to_owned(), |cause| one_line(&with_sources(cause), 300));
                if hyper.is_some_and(hyper_util::client::legacy::Error::is_connect) {
                    Self::Unsent(format!("Slack cannot be reached: {why}"))
                } else {
                    Self::Unanswered(format!("the connection to Slack broke: {why}"))
                }
            }
            // Their words may hold what was answered, and with it anything.
            _ => Self::Unanswered("what answered did not answer as Slack does".to_owned()),
        }
    }
}

fn refused(error: &SlackClientApiError) -> Failed {
    let body = error.http_response_body.as_deref().unwrap_or_default();
    let needed = serde_json::from_str::<serde_json::Value>(body).ok();
    let needed = needed.as_ref().and_then(|body| body["needed"].as_str()).map(|scope| one_line(scope, 100));
    Failed::Refused { word: one_line(&error.code, 100), needed }
}

/// Whether doing it twice does more than doing it once.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Does {
    /// It says something: said twice it stands twice.
    Post,
    /// It puts right what is there.
    Update,
}

impl Failed {
    /// Slack's word, where it gave one.
    pub(super) fn word(&self) -> Option<&str> {
        match self {
            Self::Refused { word, .. } => Some(word),
            Self::Unsent(_) | Self::TooMuch(_) | Self::Status(_) | Self::Unanswered(_) => None,
        }
    }

    /// What it means for a page to `to` there.
    pub(super) fn of_page(self, does: Does, to: &str) -> SendError {
        let later = |why: String| SendError::Later { why, after: None };
        let maybe = |why: String| match does {
            Does::Post => SendError::Unknown { why },
            Does::Update => SendError::Later { why, after: None },
        };
        match self {
            Self::Unsent(why) => later(why),
            Self::TooMuch(after) => SendError::Later { why: "Slack takes no more from quell now".to_owned(), after },
            Self::Unanswered(why) => maybe(why),
            Self::Status(503) => later("Slack is not available (503)".to_owned()),
            Self::Status(408) => later("Slack had to wait for the request (408)".to_owned()),
            Self::Status(status @ 500..) => maybe(format!("Slack has an error of its own ({status})")),
            Self::Status(status) => SendError::Never {
                why: format!("what answers there is not Slack's API ({status}); hint: `api_url` of `channels.slack`"),
            },
            Self::Refused { word, needed } => match word.as_str() {
                "ratelimited" | "rate_limited" | "message_limit_exceeded" => {
                    later(format!("Slack takes no more from quell now ({word})"))
                }
                "service_unavailable"
                | "request_timeout"
                | "team_added_to_org"
                | "org_login_required"
                | "external_channel_migrating" => later(format!("Slack is not available ({word})")),
                // "Some aspect of the operation may have succeeded", say its pages.
                "internal_error" | "fatal_error" | "update_failed" => {
                    maybe(format!("Slack has an error of its own ({word})"))
                }
                _ => SendError::Never { why: never(&word, needed.as_deref(), to) },
            },
        }
    }
}

/// A refusal for good, and what people can do about it.
fn never(word: &str, needed: Option<&str>, to: &str) -> String {
    let (what, hint) = match word {
        "channel_not_found" => (
            format!("Slack shows the app no `{to}`"),
            "is it spelled so? A private channel is seen once the app is in it: `/invite @quell` there".to_owned(),
        ),
        "not_in_channel" => (
            format!("the app is not in `{to}`"),
            "`/invite @quell` there, or give the app the scope `chat:write.public`".to_owned(),
        ),
        "is_archived" | "is_inactive" => {
            (format!("`{to}` is archived"), "unarchive it, or name another in `channels.slack`".to_owned())
        }
        "user_not_found" | "user_disabled" | "cannot_dm_bot" | "user_not_visible" => (
            format!("`{to}` is no member that the app can write to"),
            "`identities.slack` in escalation.yaml: the member's id, as their profile has it".to_owned(),
        ),
        "message_not_found" | "thread_not_found" | "cant_update_message" | "edit_window_closed" | "block_mismatch" => (
            format!("in `{to}` there is no such message of quell's that could be changed or answered"),
            "`channel` and `ts` as `slack.post` gave them".to_owned(),
        ),
        "messages_tab_disabled" => {
            ("the app takes no messages of its own".to_owned(), "switch its Messages Tab on, under App Home".to_owned())
        }
        "invalid_auth"
        | "not_authed"
        | "account_inactive"
        | "token_revoked"
        | "token_expired"
        | "not_allowed_token_type" => (
            "Slack does not take the bot's token".to_owned(),
            "`bot_token` of `channels.slack` is the Bot User OAuth Token (`xoxb-…`) of an app that is installed"
                .to_owned(),
        ),
        "missing_scope" | "no_permission" => (
            "the app may not do that".to_owned(),
            format!("add the scope `{}` to it and install it again", needed.unwrap_or("chat:write")),
        ),
        "ekm_access_denied" | "team_access_not_granted" | "access_denied" | "accesslimited" => {
            ("the workspace does not let the app in".to_owned(), "its administrators can".to_owned())
        }
        word if word.starts_with("restricted_action") => (
            format!("the workspace does not let the app write in `{to}`"),
            "its administrators can, in the channel's posting permissions".to_owned(),
        ),
        _ => return format!("Slack does not take it: `{word}`"),
    };
    format!("{what} ({word}); hint: {hint}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_goes_over_tls_or_to_this_machine() {
        let token = Secret::new("xoxb-1");
        for good in [
            "https://slack.com/api",
            "https://slack.com/api/",
            "http://127.0.0.1:8080/api",
            "http://localhost/api",
            "http://[::1]:1/api",
        ] {
            assert!(Web::new(good, &token).is_ok(), "{good}");
        }
        for bad in [
            "http://slack.com/api",
            "http://127.0.0.1.example.org/api",
            "http://127.0.0.1:80@example.org/api",
            "http://localhost:x/api",
            "https://me@slack.com/api",
            "https://",
            "slack.com/api",
            "ftp://127.0.0.1/",
        ] {
            assert_eq!(Web::new(bad, &token).err(), Some(WrongWorkspace::Url(bad.trim_end_matches('/').to_owned())));
        }
        for bad in ["", "xoxb-1\n", "xoxb 1", "xoxb-\u{fc}"] {
            assert_eq!(Web::new("https://slack.com/api", &Secret::new(bad)).err(), Some(WrongWorkspace::Token));
        }
    }

    #[tokio::test]
    async fn where_no_tls_comes_about_in_time_nothing_was_sent() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("https://{}/api", listener.local_addr().unwrap());
        // The kernel takes the connection, and nobody ever says anything.
        let web = Web::reached(&url, &Secret::new("xoxb-1"), Duration::from_millis(50)).unwrap();
        let failed = web.call::<serde_json::Value>("chat.postMessage", &serde_json::json!({})).await.unwrap_err();
        assert!(matches!(&failed, Failed::Unsent(why) if why.contains("within 50ms")), "{failed:?}");
        assert!(REACH < PATIENCE && CONNECT < REACH);
        drop(listener);
    }

    #[test]
    fn what_slack_says_is_later_never_or_nobody_knows() {
        let word = |word: &str| Failed::Refused { word: word.to_owned(), needed: None };
        let of = |failed: Failed, does| match failed.of_page(does, "#incidents") {
            SendError::Later { after, .. } => format!("later {after:?}"),
            SendError::Unknown { .. } => "unknown".to_owned(),
            SendError::Never { .. } => "never".to_owned(),
        };
        let minute = Some(Duration::from_secs(60));
        for (failed, post, update) in [
            (Failed::Unsent("refused".into()), "later None", "later None"),
            (Failed::TooMuch(minute), "later Some(60s)", "later Some(60s)"),
            (Failed::TooMuch(None), "later None", "later None"),
            (Failed::Unanswered("broke".into()), "unknown", "later None"),
            (Failed::Status(500), "unknown", "later None"),
            (Failed::Status(502), "unknown", "later None"),
            (Failed::Status(503), "later None", "later None"),
            (Failed::Status(404), "never", "never"),
            (Failed::Status(302), "never", "never"),
            (word("internal_error"), "unknown", "later None"),
            (word("fatal_error"), "unknown", "later None"),
            (word("service_unavailable"), "later None", "later None"),
            (word("ratelimited"), "later None", "later None"),
            (word("channel_not_found"), "never", "never"),
            (word("invalid_auth"), "never", "never"),
            (word("a_word_of_tomorrow"), "never", "never"),
        ] {
            assert_eq!(of(failed.clone(), Does::Post), post, "{failed:?}");
            assert_eq!(of(failed.clone(), Does::Update), update, "{failed:?}");
        }
    }

    #[test]
    fn a_refusal_says_what_people_can_do() {
        let told = |word: &str, needed: Option<&str>| {
            let failed = Failed::Refused { word: word.to_owned(), needed: needed.map(str::to_owned) };
            failed.of_page(Does::Post, "#incidents").to_string()
        };
        for (word, part) in [
            ("channel_not_found", "`/invite @quell`"),
            ("not_in_channel", "`chat:write.public`"),
            ("is_archived", "`#incidents` is archived"),
            ("invalid_auth", "`xoxb-…`"),
            ("account_inactive", "`bot_token`"),
            ("user_not_found", "`identities.slack`"),
            ("restricted_action_read_only_channel", "posting permissions"),
            ("messages_tab_disabled", "App Home"),
        ] {
            let said = told(word, None);
            assert!(said.contains(part) && said.contains("hint: ") && said.contains(word), "{said}");
        }
        assert!(told("missing_scope", Some("im:write")).contains("scope `im:write`"));
        assert_eq!(told("no_such_word", None), "Slack does not take it: `no_such_word`");
    }
}

//! What is configured of Slack for whoever comes in from there.
//!
//! Owns the secrets, read once a start and once a reload. Keeps true: what is answered goes to Slack, or to where escalation.yaml
//! says that its API is, and nowhere else.

use hyper::Uri;
use quell_actions::notify::slack::may_have_the_token;
use quell_engine::escalation::channels::{self, Channels};
use quell_engine::load::SecretFrom;
use quell_model::Secret;
use std::sync::Arc;

/// Where Slack takes what is said later to a click or a command.
const HOOKS: (&str, &str) = ("https", "hooks.slack.com");

/// See the module.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Door {
    /// What Slack signs with: two during a rotation. None: nothing is taken in over HTTP.
    pub(super) secrets: Vec<Secret>,
    /// For Socket Mode; none: it is off.
    pub(super) app_token: Option<Secret>,
    /// Where Slack's API is, without a `/` at its end.
    pub(super) api_url: String,
}

impl Door {
    /// As escalation.yaml has it; none: nobody comes in from Slack.
    pub(crate) fn of(channels: &Channels) -> Option<Arc<Self>> {
        let channels::Slack { signing_secret, app_token, api_url, .. } = channels.slack.as_ref()?;
        let read = |key: &str, from: &SecretFrom| match from.read() {
            Ok(secret) => Some(secret),
            Err(why) => {
                tracing::warn!(why, "`{key}` of the channel `slack` cannot be read: nobody comes in by it");
                None
            }
        };
        let secrets: Vec<Secret> = signing_secret.iter().filter_map(|from| read("signing_secret", from)).collect();
        let app_token = app_token.as_ref().and_then(|from| read("app_token", from));
        let app_token = app_token.filter(|_| {
            let may = may_have_the_token(api_url);
            if !may {
                tracing::warn!("`app_token` would go to `api_url` in the clear: Socket Mode is off");
            }
            may
        });
        if secrets.is_empty() && app_token.is_none() {
            return None;
        }
        Some(Arc::new(Self { secrets, app_token, api_url: api_url.trim_end_matches('/').to_owned() }))
    }

    /// Whether what Slack gives as the place for an answer is one of Slack's.
    pub(super) fn is_slacks(&self, url: &str) -> bool {
        let place = |url: &str| {
            let uri: Uri = url.parse().ok()?;
            let authority = uri.authority()?.as_str().to_ascii_lowercase();
            Some((uri.scheme_str()?.to_owned(), authority))
        };
        let Some((scheme, authority)) = place(url) else { return false };
        (scheme.as_str(), authority.as_str()) == HOOKS || place(&self.api_url) == Some((scheme, authority))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn door(api_url: &str) -> Door {
        Door { secrets: Vec::new(), app_token: None, api_url: api_url.to_owned() }
    }

    #[test]
    fn answers_go_to_slack_and_nowhere_else() {
        let real = door("https://slack.com/api");
        for url in ["https://hooks.slack.com/actions/T1/2/x", "https://HOOKS.slack.com/x", "https://slack.com/x"] {
            assert!(real.is_slacks(url), "{url}");
        }
        for url in [
            "",
            "hooks.slack.com/actions",
            "http://hooks.slack.com/actions",
            "https://hooks.slack.com:8443/actions",
            "https://hooks.slack.com.example.org/actions",
            "https://hooks.slack.com@example.org/actions",
            "https://me@hooks.slack.com/actions",
            "https://example.org/?https://hooks.slack.com/",
            "http://slack.com/x",
            "http://169.254.169.254/latest",
        ] {
            assert!(!real.is_slacks(url), "{url}");
        }
        let other = door("http://127.0.0.1:9000/api");
        assert!(other.is_slacks("http://127.0.0.1:9000/hooks/1") && !other.is_slacks("http://127.0.0.1:9001/hooks/1"));
    }

    #[test]
    fn without_a_secret_that_can_be_read_nobody_comes_in() {
        let slack_at = |api_url: &str, signing: Vec<SecretFrom>, app_token: Option<SecretFrom>| {
            let bot_token = SecretFrom::Fixed(Secret::new("xoxb-1"));
            let (api_url, channel) = (api_url.to_owned(), "#incidents".to_owned());
            let slack = channels::Slack { bot_token, signing_secret: signing, app_token, api_url, channel };
            Door::of(&Channels { slack: Some(slack), ..Channels::default() })
        };
        let slack = |signing, app_token| slack_at("https://slack.com/api/", signing, app_token);
        let nowhere = || SecretFrom::Nowhere("not set".to_owned());
        let fixed = |text: &str| SecretFrom::Fixed(Secret::new(text));
        assert_eq!(Door::of(&Channels::default()), None);
        assert_eq!(slack(vec![], None), None);
        assert_eq!(slack(vec![nowhere()], Some(nowhere())), None);
        let rotating = slack(vec![nowhere(), fixed("older")], None).unwrap();
        assert_eq!(rotating.secrets, [Secret::new("older")], "one of two");
        assert_eq!(rotating.api_url, "https://slack.com/api");
        assert_eq!(slack(vec![], Some(fixed("xapp-1"))).unwrap().app_token.clone(), Some(Secret::new("xapp-1")));
        let clear = slack_at("http://slack.example.org/api", vec![fixed("s")], Some(fixed("xapp-1"))).unwrap();
        assert_eq!((clear.secrets.len(), clear.app_token.clone()), (1, None), "no token goes in the clear");
    }
}

//! Webhooks: a page, or what a playbook says, as JSON by HTTP, to what wakes people and to programs.
//!
//! Owns what an answer means, whichever template is spoken. Each template has a file of its own. Keeps true: a message goes to the
//! address that the file names and to no other; neither that address nor a secret stands in what went wrong; what may have been
//! taken is said so where a second one would wake somebody twice.
//!
//! ```text
//! 2xx ─▶ taken     429, 503 ─▶ later, as it says     408, 5xx ─▶ later where a second one is known as the same, else nobody knows
//! 3xx, 4xx ─▶ never     no connection ─▶ later     broken off after that ─▶ nobody knows
//!
//! A page has its key for good. A playbook's message keeps it while nobody knows: its 503 without `Retry-After`, 408 and 5xx are that.
//! ```

mod json;
mod ntfy;
mod opsgenie;
mod pagerduty;

use super::http::{Answer, Ask, Broken, Client, Target};
use super::mark::Links;
use crate::send::ways::{Hooks, Message};
use hyper::Method;
use hyper::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use quell_model::Secret;
use quell_model::notice::{Channel, Letter, Receipt, SendError, Way};
use serde::Serialize;

/// What is spoken to a webhook.
enum Speaks {
    Ntfy(ntfy::Ntfy),
    PagerDuty(pagerduty::PagerDuty),
    Opsgenie(opsgenie::Opsgenie),
    Json(json::Signed),
}

/// What is wrong with a webhook's settings.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WrongWebhook {
    /// Its address.
    #[error(transparent)]
    Target(#[from] super::http::WrongTarget),
    /// An address of ntfy without a topic.
    #[error("its `url` names no topic; hint: `https://ntfy.sh/TOPIC`")]
    NoTopic,
    /// A token with what no header takes.
    #[error("its `secret` is no token or key: it has characters that no header takes")]
    Token,
}

/// See the module.
pub struct Webhook {
    client: Client,
    to: Target,
    speaks: Speaks,
    links: Option<Links>,
}

impl Webhook {
    /// One that speaks ntfy's JSON to the server of this topic.
    ///
    /// # Errors
    /// What is wrong with the settings.
    pub fn ntfy(
        client: Client,
        url: &Secret,
        token: Option<Secret>,
        links: Option<Links>,
    ) -> Result<Self, WrongWebhook> {
        let (to, ntfy) = ntfy::Ntfy::of(&Target::of(url)?.hiding(token.as_ref()), token.as_ref())?;
        Ok(Self { client, to, speaks: Speaks::Ntfy(ntfy), links })
    }

    /// One that speaks PagerDuty's Events v2, to the service of this routing key.
    ///
    /// # Errors
    /// What is wrong with the settings.
    pub fn pagerduty(client: Client, url: &Secret, key: Secret, links: Option<Links>) -> Result<Self, WrongWebhook> {
        let speaks = Speaks::PagerDuty(pagerduty::PagerDuty::of(&key));
        Ok(Self { client, to: Target::of(url)?.hiding(Some(&key)), speaks, links })
    }

    /// One that makes alerts as Opsgenie's API has them, with this key.
    ///
    /// # Errors
    /// What is wrong with the settings.
    pub fn opsgenie(client: Client, url: &Secret, key: Secret, links: Option<Links>) -> Result<Self, WrongWebhook> {
        let (to, opsgenie) = opsgenie::Opsgenie::of(Target::of(url)?.hiding(Some(&key)), &key)?;
        Ok(Self { client, to, speaks: Speaks::Opsgenie(opsgenie), links })
    }

    /// One that speaks quell's own JSON, signed with this.
    ///
    /// # Errors
    /// What is wrong with the settings.
    pub fn json(client: Client, url: &Secret, secret: Secret, links: Option<Links>) -> Result<Self, WrongWebhook> {
        let speaks = Speaks::Json(json::Signed::of(&secret));
        Ok(Self { client, to: Target::of(url)?.hiding(Some(&secret)), speaks, links })
    }

    async fn post(&self, content: (Vec<u8>, Headers), again: Again) -> Result<Answer, SendError> {
        self.post_to(&self.to, content, again).await
    }

    async fn post_to(
        &self,
        to: &Target,
        (body, headers): (Vec<u8>, Headers),
        again: Again,
    ) -> Result<Answer, SendError> {
        let mut all = vec![(CONTENT_TYPE, HeaderValue::from_static("application/json"))];
        all.extend(headers);
        let answered = self.client.ask(to, Ask { method: Method::POST, headers: all, body }).await;
        judged(answered, again)
    }
}

/// Headers of a template's own.
type Headers = Vec<(HeaderName, HeaderValue)>;

/// What a second message with the same key is to the other side.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Again {
    /// The same.
    Same,
    /// Another one, which wakes somebody once more.
    Another,
    /// The same, if it is sent again because nobody knows. Else it comes under another key.
    WhileUnknown,
}

fn judged(answered: Result<Answer, Broken>, again: Again) -> Result<Answer, SendError> {
    let answer = match answered {
        Ok(answer) => answer,
        Err(Broken::Unsent(why)) => return Err(SendError::Later { why, after: None }),
        Err(Broken::Unknown(why)) => return Err(SendError::Unknown { why }),
        Err(Broken::Refused(why)) => return Err(SendError::Never { why }),
    };
    let (why, after) = (answer.said.clone(), answer.after);
    match answer.status {
        200..=299 => Ok(answer),
        429 => Err(SendError::Later { why, after }),
        503 if again != Again::WhileUnknown || after.is_some() => Err(SendError::Later { why, after }),
        408 | 500..=599 if again == Again::Same => Err(SendError::Later { why, after }),
        408 | 500..=599 => Err(SendError::Unknown { why }),
        status => Err(SendError::Never { why: format!("{why}; hint: {}", hint(status)) }),
    }
}

fn hint(status: u16) -> &'static str {
    match status {
        300..=399 => "no redirection is followed: give `url` as it is in the end",
        401 | 403 => "is `secret` the one of this webhook?",
        404 | 405 | 410 => "is `url` the one of this webhook?",
        _ => "does `template` speak what is at `url`?",
    }
}

/// A body of types that are JSON by their making.
fn written(body: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(body).expect("maps with keys of text, and text, are JSON")
}

#[async_trait::async_trait]
impl Channel for Webhook {
    async fn send(&self, letter: &Letter) -> Result<Receipt, SendError> {
        if !matches!(letter.page.way, Way::Webhook(_)) {
            return Err(SendError::Never { why: "the page is for another channel".to_owned() });
        }
        let links = self.links.as_ref();
        match &self.speaks {
            Speaks::PagerDuty(pagerduty) => {
                let (key, events) = pagerduty.events(letter, links);
                for event in events {
                    self.post((written(&event), Headers::new()), Again::Same).await?;
                }
                Ok(Receipt::Delivered { reference: Some(key) })
            }
            Speaks::Opsgenie(opsgenie) => {
                let (alias, requests) = opsgenie.requests(letter, links);
                for (to, content) in requests {
                    self.post_to(&to, content, Again::Same).await?;
                }
                Ok(Receipt::Delivered { reference: Some(alias) })
            }
            // Neither can put a message right that it has: what would, would wake somebody.
            _ if letter.page.quiet => Err(SendError::Never { why: "what was sent there cannot be changed".to_owned() }),
            Speaks::Ntfy(ntfy) => {
                let answer = self.post(ntfy.message(letter, links), Again::Another).await?;
                Ok(Receipt::Handed { reference: ntfy::id(&answer.body) })
            }
            Speaks::Json(signed) => {
                self.post(signed.message(letter, links), Again::Same).await?;
                Ok(Receipt::Handed { reference: None })
            }
        }
    }
}

#[async_trait::async_trait]
impl Hooks for Webhook {
    fn template(&self) -> &'static str {
        match &self.speaks {
            Speaks::Ntfy(_) => "ntfy",
            Speaks::PagerDuty(_) => "pagerduty",
            Speaks::Opsgenie(_) => "opsgenie",
            Speaks::Json(_) => "json",
        }
    }

    fn host(&self) -> String {
        self.to.shown().to_owned()
    }

    async fn tell(&self, message: &Message) -> Result<u16, SendError> {
        let content = match &self.speaks {
            Speaks::Ntfy(ntfy) => ntfy.said(message),
            Speaks::PagerDuty(pagerduty) => (written(&pagerduty.said(message)), Headers::new()),
            Speaks::Opsgenie(opsgenie) => opsgenie.said(message),
            Speaks::Json(signed) => signed.said(message),
        };
        match (self.post(content, Again::WhileUnknown).await, &self.speaks) {
            (Err(SendError::Unknown { why }), Speaks::Ntfy(_)) => {
                let why = format!("outcome unknown, and ntfy has no keys, so it is not sent again: {why}");
                Err(SendError::Never { why: format!("{why}; hint: look there whether it came") })
            }
            (answered, _) => Ok(answered?.status),
        }
    }
}

#[cfg(test)]
mod said_tests;
#[cfg(test)]
pub(super) mod tests;

//! What speaks to people: the channels of escalation.yaml, ready to send.
//!
//! Owns their making, and the terminal's. Decides nothing: a channel that cannot be made is off and says so, and whoever it was to
//! reach is told by their other ways.

use quell_actions::notify::plain;
use quell_engine::escalation::channels::Channels;
use quell_engine::run::ladder::Post;
use quell_model::Name;
use quell_model::notice::{Channel, Letter, Receipt, SendError};
use std::collections::BTreeMap;
use std::io::Write;
use std::sync::Arc;

/// The channels that these settings make.
pub(crate) fn post(channels: &Channels) -> Post {
    let mut all: BTreeMap<Name, Arc<dyn Channel>> = BTreeMap::new();
    if channels.console {
        all.insert("console".into(), Arc::new(Console));
    }
    match email(channels) {
        Ok(Some(email)) => drop(all.insert("email".into(), email)),
        Ok(None) => {}
        Err(why) => tracing::warn!(why, "the channel `email` is off"),
    }
    Post::new(all)
}

#[cfg(feature = "email")]
fn email(channels: &Channels) -> Result<Option<Arc<dyn Channel>>, String> {
    use quell_actions::notify::email::{Email, Server};
    use quell_engine::load::SecretFrom;
    let Some(settings) = &channels.email else { return Ok(None) };
    let read = |from: &Option<SecretFrom>| from.as_ref().map(SecretFrom::read).transpose();
    let login = match (read(&settings.user)?, read(&settings.password)?) {
        (Some(user), Some(password)) => Some((user.expose().to_owned(), password)),
        (None, None) => None,
        _ => return Err("it has a `user` or a `password`, and needs both or neither".to_owned()),
    };
    let server = Server { url: settings.smtp.read()?.expose().to_owned(), login, from: settings.from.clone() };
    let email = Email::new(server).map_err(|error| error.to_string())?;
    Ok(Some(Arc::new(email)))
}

#[cfg(not(feature = "email"))]
fn email(channels: &Channels) -> Result<Option<Arc<dyn Channel>>, String> {
    match channels.email {
        Some(_) => Err("this build has no mail: it was made without the feature `email`".to_owned()),
        None => Ok(None),
    }
}

/// The terminal that the daemon was started on.
struct Console;

#[async_trait::async_trait]
impl Channel for Console {
    async fn send(&self, letter: &Letter) -> Result<Receipt, SendError> {
        let mut text = format!("{}\n", plain::subject(letter));
        for line in plain::lines(letter).iter().skip(1) {
            text.push_str(&format!("  {line}\n"));
        }
        let mut out = std::io::stdout().lock();
        let written = out.write_all(text.as_bytes()).and_then(|()| out.flush());
        match written {
            Ok(()) => Ok(Receipt::Delivered { reference: None }),
            // Nobody reads it any more.
            Err(error) => Err(SendError::Never { why: format!("the terminal takes nothing: {error}") }),
        }
    }
}

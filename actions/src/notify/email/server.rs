//! A mail server, and how a mail is handed to it.
//!
//! Owns the connection, and what each of the server's words means: its 4xx is a "later", its 5xx a "never". Keeps true: a password goes
//! over TLS or to this machine alone; until the mail itself goes out nothing was sent, whatever breaks; once the server says that it has
//! taken it, it has, whatever becomes of the connection; whom it refuses keeps the mail from nobody else.
//!
//! ```text
//! connect, TLS, login, MAIL, RCPT, DATA ─▶ the mail ─▶ 250 ─▶ QUIT, not waited for
//! └──── nothing is sent: later, never ────┘└ unknown ┘
//! ```

use crate::notify::with_sources;
use lettre::Message;
use lettre::address::Envelope;
use lettre::transport::smtp::Error;
use lettre::transport::smtp::authentication::{Credentials, DEFAULT_MECHANISMS};
use lettre::transport::smtp::client::{AsyncSmtpConnection, Tls, TlsParameters};
use lettre::transport::smtp::commands::{Data, Mail, Rcpt};
use lettre::transport::smtp::extension::{ClientId, Extension, MailBodyParameter, MailParameter};
use quell_model::Secret;
use quell_model::notice::SendError;
use std::time::Duration;
use tokio::time::timeout;

/// From the connection to the server's word that it waits for the mail.
const OPENS: Duration = Duration::from_secs(12);
/// From there to its word that it has taken it: with the other, less than the engine waits for a channel.
const TAKES: Duration = Duration::from_secs(15);
/// For a connection to one of its addresses: another one may answer.
const CONNECTS: Duration = Duration::from_secs(5);

/// Where mails go, and who sends them.
pub struct Server {
    /// `smtp://HOST:PORT`, with STARTTLS where it is offered, or `smtps://HOST:PORT`.
    pub url: String,
    /// Who quell is there, and its password.
    pub login: Option<(String, Secret)>,
    /// The address that they come from.
    pub from: String,
}

/// What is wrong with a server's settings.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WrongServer {
    /// Its address.
    #[error(
        "what `smtp` gives is no address of a mail server; hint: `smtp://HOST:PORT` or `smtps://HOST:PORT`, and `user` and `password` beside it"
    )]
    Url,
    /// The sender.
    #[error("`{0}` is no address that mails can come from; hint: `quell@example.org`")]
    From(String),
    /// TLS.
    #[error("TLS cannot be set up: {0}")]
    Tls(String),
}

/// See the module.
pub(super) struct Relay {
    host: String,
    port: u16,
    tls: Tls,
    login: Option<Credentials>,
    opens: Duration,
    takes: Duration,
}

/// A mail that was taken.
#[derive(Debug)]
pub(super) struct Handed {
    /// What the server said.
    pub(super) said: String,
    /// Whom it did not take it for, and why.
    pub(super) refused: Vec<String>,
}

impl Relay {
    /// This server. Connects when a mail is handed to it.
    pub(super) fn of(server: Server) -> Result<Self, WrongServer> {
        let (scheme, rest) = server.url.split_once("://").ok_or(WrongServer::Url)?;
        let authority = rest.trim_end_matches('/');
        let (host, port) = host_and_port(authority).ok_or(WrongServer::Url)?;
        let tls = || TlsParameters::new(host.to_owned()).map_err(|error| WrongServer::Tls(error.to_string()));
        let is_here = matches!(host, "localhost" | "127.0.0.1" | "::1");
        let (tls, usual) = match scheme {
            "smtps" => (Tls::Wrapper(tls()?), 465),
            // What is offered in the clear may have been taken out of the offer.
            "smtp" if server.login.is_some() && !is_here => (Tls::Required(tls()?), 587),
            "smtp" if is_here => (Tls::None, 25),
            "smtp" => (Tls::Opportunistic(tls()?), 25),
            _ => return Err(WrongServer::Url),
        };
        let login = server.login.map(|(user, password)| Credentials::new(user, password.expose().to_owned()));
        let port = port.unwrap_or(usual);
        Ok(Self { host: host.to_owned(), port, tls, login, opens: OPENS, takes: TAKES })
    }

    /// Hands a mail over, within the bounds of the module. Whoever drops the future does not know whether it went.
    ///
    /// # Errors
    /// It was taken for nobody, or nobody knows.
    pub(super) async fn hand(&self, message: &Message) -> Result<Handed, SendError> {
        let mail = message.formatted();
        let silent = |within: Duration| format!("{} has not answered within {within:?}", self.host);
        let opened = timeout(self.opens, self.opened(message.envelope(), mail.is_ascii())).await;
        let (mut connection, refused) =
            opened.map_err(|_| SendError::Later { why: silent(self.opens), after: None })??;
        // From here on it may have all of it, and only its answer did not come.
        let taken = timeout(self.takes, connection.message(&mail)).await;
        let answer = match taken.map_err(|_| SendError::Unknown { why: silent(self.takes) })? {
            Err(error) if error.status().is_none() => Err(SendError::Unknown { why: with_sources(&error) }),
            answered => answered.map_err(|error| unsent(&error)),
        }?;
        // Said once, and not waited for: what was taken is taken.
        drop(timeout(Duration::ZERO, connection.quit()).await);
        let said: Vec<&str> = answer.message().collect();
        Ok(Handed { said: format!("{} {}", answer.code(), said.join(" ")), refused })
    }

    /// A connection on which the server waits for the mail, and those for whom it does not take it.
    async fn opened(
        &self,
        envelope: &Envelope,
        is_ascii: bool,
    ) -> Result<(AsyncSmtpConnection, Vec<String>), SendError> {
        let mut connection = self.connected().await.map_err(|error| unsent(&error))?;
        let mut parameters = Vec::new();
        let plain = envelope.to().iter().chain(envelope.from()).all(|one| AsRef::<str>::as_ref(one).is_ascii());
        for (needs, extension, parameter) in [
            (!plain, Extension::SmtpUtfEight, MailParameter::SmtpUtfEight),
            (!is_ascii, Extension::EightBitMime, MailParameter::Body(MailBodyParameter::EightBitMime)),
        ] {
            match (needs, connection.server_info().supports_feature(extension)) {
                (false, _) => {}
                (true, true) => parameters.push(parameter),
                (true, false) => {
                    let why = format!("{} takes no letters beyond ASCII here ({extension})", self.host);
                    return Err(SendError::Never { why });
                }
            }
        }
        let mail = Mail::new(envelope.from().cloned(), parameters);
        connection.command(mail).await.map_err(|error| unsent(&error))?;
        let (mut refused, mut is_for_good) = (Vec::new(), true);
        for to in envelope.to() {
            match connection.command(Rcpt::new(to.clone(), Vec::new())).await {
                Ok(_) => {}
                Err(error) if error.status().is_some() => {
                    is_for_good &= error.is_permanent();
                    refused.push(format!("`{to}`: {}", with_sources(&error)));
                }
                Err(error) => return Err(unsent(&error)),
            }
        }
        if refused.len() == envelope.to().len() {
            let why = refused.join(", ");
            return Err(if is_for_good { SendError::Never { why } } else { SendError::Later { why, after: None } });
        }
        connection.command(Data).await.map_err(|error| unsent(&error))?;
        Ok((connection, refused))
    }

    async fn connected(&self) -> Result<AsyncSmtpConnection, Error> {
        let (at, hello) = ((self.host.as_str(), self.port), ClientId::default());
        let from_the_begin = match &self.tls {
            Tls::Wrapper(tls) => Some(tls.clone()),
            _ => None,
        };
        let mut connection =
            AsyncSmtpConnection::connect_tokio1(at, Some(CONNECTS), &hello, from_the_begin, None).await?;
        match &self.tls {
            Tls::Required(tls) => connection.starttls(tls.clone(), &hello).await?,
            Tls::Opportunistic(tls) if connection.can_starttls() => connection.starttls(tls.clone(), &hello).await?,
            _ => {}
        }
        if let Some(login) = &self.login {
            connection.auth(DEFAULT_MECHANISMS, login).await?;
        }
        Ok(connection)
    }
}

/// Where nothing was sent: a server's 5xx, and what it has no way for, will not be otherwise the next time.
fn unsent(error: &Error) -> SendError {
    let why = with_sources(error);
    match error.is_permanent() || error.is_client() {
        true => SendError::Never { why },
        false => SendError::Later { why, after: None },
    }
}

/// `host`, `host:port` or `[::1]:port`.
fn host_and_port(authority: &str) -> Option<(&str, Option<u16>)> {
    if authority.is_empty() || authority.contains(['/', '@', '?', '#']) {
        return None;
    }
    if let Some(rest) = authority.strip_prefix('[') {
        let (host, port) = rest.split_once(']')?;
        return match port.strip_prefix(':') {
            Some(port) => Some((host, Some(port.parse().ok()?))),
            None => port.is_empty().then_some((host, None)),
        };
    }
    match authority.rsplit_once(':') {
        Some((host, port)) if !host.is_empty() && !host.contains(':') => Some((host, Some(port.parse().ok()?))),
        Some(_) => None,
        None => Some((authority, None)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
    use tokio::net::TcpListener;
    use tokio::task::JoinHandle;

    fn server(url: &str) -> Server {
        Server { url: url.into(), login: None, from: "quell@example.org".into() }
    }

    /// A server that answers one connection's lines with these, and the mail as the line `.`; `-` says nothing from there on, and an
    /// empty answer hangs up. Gives what it read.
    async fn says(answer: fn(&str) -> &'static str) -> (Relay, JoinHandle<Vec<String>>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("smtp://{}", listener.local_addr().unwrap());
        let read = tokio::spawn(async move {
            let (stream, _) = listener.accept().await.unwrap();
            let mut stream = BufReader::new(stream);
            let (mut all, mut is_mail, mut is_silent) = (Vec::new(), false, false);
            stream.write_all(b"220 mail.example.org ESMTP\r\n").await.unwrap();
            let mut line = String::new();
            while {
                line.clear();
                stream.read_line(&mut line).await.is_ok_and(|read| read > 0)
            } {
                let text = line.trim_end();
                if is_mail && text != "." {
                    continue;
                }
                all.push(text.to_owned());
                is_mail = text == "DATA";
                match answer(text) {
                    "" => break,
                    "-" => is_silent = true,
                    _ if is_silent => {}
                    said => stream.write_all(format!("{said}\r\n").as_bytes()).await.unwrap(),
                }
            }
            all
        });
        (Relay::of(server(&url)).unwrap(), read)
    }

    fn usual(line: &str) -> &'static str {
        match line {
            "DATA" => "354 go on",
            "." => "250 taken as 7",
            "QUIT" => "221 bye",
            _ => "250 fine",
        }
    }

    fn mail(to: &[&str]) -> Message {
        let mut message = Message::builder().from("quell@example.org".parse().unwrap()).subject("s");
        for to in to {
            message = message.to(to.parse().unwrap());
        }
        message.body("one\r\n.\r\ntwo".to_owned()).unwrap()
    }

    const ANA: &[&str] = &["ana@example.org"];

    #[test]
    fn addresses_of_servers_are_read_or_refused() {
        for good in
            ["smtp://localhost:1025", "smtp://mail.example.org", "smtps://mail.example.org:465", "smtp://[::1]:25"]
        {
            assert!(Relay::of(server(good)).is_ok(), "{good}");
        }
        for bad in ["localhost:1025", "http://localhost", "smtp://", "smtp://a@b", "smtp://h:port", "smtp://a:b:1"] {
            assert_eq!(Relay::of(server(bad)).err(), Some(WrongServer::Url), "{bad}");
        }
    }

    #[tokio::test]
    async fn what_was_taken_is_taken_though_the_server_says_no_farewell() {
        let (relay, read) = says(|line| if line == "QUIT" { "-" } else { usual(line) }).await;
        let handed = relay.hand(&mail(ANA)).await.unwrap();
        assert_eq!((handed.said.as_str(), handed.refused.len()), ("250 taken as 7", 0));
        assert_eq!(
            read.await.unwrap()[1..],
            ["MAIL FROM:<quell@example.org>", "RCPT TO:<ana@example.org>", "DATA", ".", "QUIT"]
        );
    }

    #[tokio::test]
    async fn whom_the_server_refuses_keeps_the_mail_from_nobody_else() {
        let refuses = |line: &str| if line.contains("bo@") { "550 no such bo" } else { usual(line) };
        let (relay, read) = says(refuses).await;
        let handed = relay.hand(&mail(&["bo@example.org", "ana@example.org"])).await.unwrap();
        assert!(handed.refused.len() == 1 && handed.refused[0].starts_with("`bo@example.org`: "), "{handed:?}");
        assert!(handed.refused[0].contains("no such bo"), "{handed:?}");
        assert!(read.await.unwrap().contains(&".".to_owned()));
        let (relay, read) = says(refuses).await;
        let error = relay.hand(&mail(&["bo@example.org"])).await.unwrap_err();
        assert!(matches!(&error, SendError::Never { why } if why.contains("no such bo")), "{error:?}");
        assert!(!read.await.unwrap().contains(&"DATA".to_owned()));
        let (relay, _) = says(|line| if line.starts_with("RCPT") { "450 later" } else { usual(line) }).await;
        let error = relay.hand(&mail(&["ana@example.org", "bo@example.org"])).await.unwrap_err();
        assert!(matches!(error, SendError::Later { .. }), "{error:?}");
    }

    #[tokio::test]
    async fn until_the_mail_goes_out_nothing_was_sent_and_from_there_on_nobody_knows() {
        for (answer, wanted) in [
            ((|line| if line.starts_with("EHLO") { "-" } else { usual(line) }) as fn(&str) -> &'static str, "later"),
            (|line| if line.starts_with("EHLO") { "" } else { usual(line) }, "later"),
            (|line| if line.starts_with("RCPT") { "-" } else { usual(line) }, "later"),
            (|line| if line == "DATA" { "" } else { usual(line) }, "later"),
            (|line| if line.starts_with("MAIL") { "550 no" } else { usual(line) }, "never"),
            (|line| if line == "." { "" } else { usual(line) }, "unknown"),
            (|line| if line == "." { "-" } else { usual(line) }, "unknown"),
            (|line| if line == "." { "what?" } else { usual(line) }, "unknown"),
            (|line| if line == "." { "451 later" } else { usual(line) }, "later"),
            (|line| if line == "." { "554 spam" } else { usual(line) }, "never"),
        ] {
            let (relay, _) = says(answer).await;
            // What waits for an answer in vain waits shortly.
            let relay = match wanted {
                "later" => Relay { opens: Duration::from_secs(2), ..relay },
                "unknown" => Relay { takes: Duration::from_secs(1), ..relay },
                _ => relay,
            };
            let error = relay.hand(&mail(ANA)).await.unwrap_err();
            let is = match &error {
                SendError::Later { .. } => "later",
                SendError::Unknown { .. } => "unknown",
                SendError::Never { .. } => "never",
            };
            assert_eq!(is, wanted, "{error:?}");
        }
    }

    #[tokio::test]
    async fn who_is_not_there_may_be_there_later_and_what_a_server_has_no_way_for_is_never() {
        let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        let (no_tls, _) = says(usual).await;
        for url in
            [format!("smtp://{nobody}"), "smtp://mail.invalid".to_owned(), format!("smtps://127.0.0.1:{}", no_tls.port)]
        {
            let error = Relay::of(server(&url)).unwrap().hand(&mail(ANA)).await.unwrap_err();
            assert!(matches!(error, SendError::Later { .. }), "{url}: {error:?}");
        }
        let (no_login, read) = says(usual).await;
        let login = Some(Credentials::new("quell".to_owned(), "hunter2".to_owned()));
        let error = Relay { login, ..no_login }.hand(&mail(ANA)).await.unwrap_err();
        assert!(matches!(&error, SendError::Never { why } if why.contains("authentication mechanism")), "{error:?}");
        assert!(!read.await.unwrap().iter().any(|line| line.starts_with("MAIL")));
        let (no_starttls, _) = says(usual).await;
        let tls = Tls::Required(TlsParameters::new("127.0.0.1".to_owned()).unwrap());
        let error = Relay { tls, ..no_starttls }.hand(&mail(ANA)).await.unwrap_err();
        assert!(matches!(&error, SendError::Never { why } if why.contains("STARTTLS")), "{error:?}");
        let (no_utf8, _) = says(usual).await;
        let error = no_utf8.hand(&mail(&["grün@example.org"])).await.unwrap_err();
        assert!(matches!(&error, SendError::Never { why } if why.contains("SMTPUTF8")), "{error:?}");
    }
}

//! Mail: a page, or what a playbook says, as a message of text and HTML, by SMTP.
//!
//! Owns the message and the connection to the server. A server's 4xx is a "later", its 5xx a "never". Keeps true: a password
//! goes over TLS or to this machine alone; all mails of an incident stand in one thread; a page, or a step's mail, has one Message-ID,
//! however often it is sent.

use super::mark::Links;
use super::markup::{escaped, line};
use super::plain::{TITLE, lines, subject, wanted};
use super::with_sources;
use crate::send::ways::{Mail, Mails};
use lettre::message::{Mailbox, MultiPart, header};
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Tls, TlsParameters};
use lettre::{AsyncSmtpTransport, AsyncTransport, Message, Tokio1Executor};
use quell_model::notice::{Channel, Letter, Receipt, SendError, State, Way};
use quell_model::{Hash, Secret};
use std::time::Duration;

/// A line's name is not longer: what others wrote is no name.
const LONGEST_NAME: usize = 14;
/// Characters of the sum that a Message-ID has.
const ID: usize = 40;
/// A server that says nothing for so long is down.
const PATIENCE: Duration = Duration::from_secs(20);

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
pub struct Email {
    transport: AsyncSmtpTransport<Tokio1Executor>,
    from: Mailbox,
    links: Option<Links>,
}

impl Email {
    /// A channel to this server. Connects when the first page goes out.
    ///
    /// # Errors
    /// What is wrong with the settings.
    pub fn new(server: Server, links: Option<Links>) -> Result<Self, WrongServer> {
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
        let mut builder = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(host)
            .port(port.unwrap_or(usual))
            .tls(tls)
            .timeout(Some(PATIENCE));
        if let Some((user, password)) = server.login {
            builder = builder.credentials(Credentials::new(user, password.expose().to_owned()));
        }
        let from = server.from.parse().map_err(|_| WrongServer::From(server.from.clone()))?;
        Ok(Self { transport: builder.build(), from, links })
    }

    fn message(&self, letter: &Letter, to: &str) -> Result<Message, String> {
        let domain = self.from.email.domain();
        let thread = format!("<{}@{domain}>", letter.notice.thread().replace('/', "."));
        let mailbox: Mailbox = to.parse().map_err(|error| format!("`{to}` is no address: {error}"))?;
        let link = self.links.as_ref().and_then(|links| links.answer(letter));
        Message::builder()
            .from(self.from.clone())
            .to(mailbox)
            .subject(subject(letter))
            .message_id(Some(format!("<{}@{domain}>", letter.key.as_str())))
            .references(thread.clone())
            .in_reply_to(thread)
            .header(header::MIME_VERSION_1_0)
            .multipart(MultiPart::alternative_plain_html(text(letter, link.as_deref()), html(letter, link.as_deref())))
            .map_err(unwritten)
    }

    /// What a playbook says, with its Message-ID.
    fn said(&self, mail: &Mail) -> Result<(String, Message), String> {
        let sum = Hash::of(mail.key.as_bytes()).to_string();
        let id = format!("<q-{}@{}>", &sum[..ID.min(sum.len())], self.from.email.domain());
        let mut message = Message::builder().from(self.from.clone());
        for to in &mail.to {
            message = message.to(to.parse().map_err(|error| format!("`{to}` is no address: {error}"))?);
        }
        let rows: String = mail.text.lines().map(paragraph).collect();
        let message = message
            .subject(&mail.subject)
            .message_id(Some(id.clone()))
            .header(header::MIME_VERSION_1_0)
            .multipart(MultiPart::alternative_plain_html(
                format!("{}\n", mail.text),
                sheet("#455a64", &format!("<b style=\"font-size:20px\">{}</b>", escaped(&mail.subject)), &rows),
            ))
            .map_err(unwritten)?;
        Ok((id, message))
    }

    /// Hands it to the server; gives what it said.
    async fn hand(&self, message: Message) -> Result<String, SendError> {
        match self.transport.send(message).await {
            Ok(answer) => {
                let said: Vec<&str> = answer.message().collect();
                Ok(format!("{} {}", answer.code(), said.join(" ")))
            }
            Err(error) if error.is_permanent() => Err(SendError::Never { why: with_sources(&error) }),
            // It may have had all of it, and only its answer did not come.
            Err(error) if error.is_transient() => Err(SendError::Later { why: with_sources(&error), after: None }),
            Err(error) if is_unconnected(&error) => Err(SendError::Later { why: with_sources(&error), after: None }),
            Err(error) => Err(SendError::Unknown { why: with_sources(&error) }),
        }
    }
}

fn unwritten(error: lettre::error::Error) -> String {
    format!("the mail cannot be written: {error}")
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

fn text(letter: &Letter, link: Option<&str>) -> String {
    let mut text = lines(letter).join("\n");
    text.push('\n');
    // On a line of its own, whole, so that every reader makes a link of it.
    text.extend(link.map(|link| format!("\nanswer here (nothing happens before you confirm it there):\n{link}\n")));
    text
}

/// The same lines, readable on a telephone at night. No link acts, no picture is fetched. Where nothing says otherwise the reader's own colours
/// hold, by day and by night.
fn html(letter: &Letter, link: Option<&str>) -> String {
    let colour = match letter.notice.level.as_str() {
        _ if letter.notice.state == State::Over => "#2e7d32",
        "critical" => "#b00020",
        "high" => "#c75000",
        _ => "#455a64",
    };
    let notice = &letter.notice;
    let all = lines(letter);
    // Both stand in the head.
    let told = all.get(2..).unwrap_or_default();
    let (first, rest) = told.split_at(wanted(notice).len());
    let rows = |of: &[String]| of.iter().map(|text| row(text)).collect::<String>();
    let incident = notice.incident.as_ref().map(|id| row(&format!("incident: {id}")));
    let stands = match &notice.state {
        State::Acknowledged(by) => format!("acknowledged by {}", line(by.as_str(), TITLE)),
        State::Open | State::Over => notice.stands().to_owned(),
    };
    let answer = link.map(|link| {
        format!(
            "<p style=\"margin:20px 0\"><a href=\"{}\" style=\"display:inline-block;padding:14px 24px;border-radius:8px;\
             background:{colour};color:#fff;text-decoration:none;font-weight:bold\">Look and answer</a><br>\
             <small style=\"opacity:.7\">Nothing happens before you confirm it there.</small></p>",
            escaped(link)
        )
    });
    let head = format!(
        "<b style=\"text-transform:uppercase\">{}</b> {stands}<br><b style=\"font-size:20px\">{}</b><br>\
         <span style=\"opacity:.8\">{}</span>",
        notice.level.as_str(),
        line(&notice.title, TITLE),
        line(&notice.entity, TITLE)
    );
    let told = [rows(first), answer.unwrap_or_default(), rows(rest), incident.unwrap_or_default()];
    sheet(colour, &head, &told.concat())
}

/// A sheet with this head and these paragraphs; both are HTML.
fn sheet(colour: &str, head: &str, paragraphs: &str) -> String {
    format!(
        "<!doctype html><html><head><meta charset=\"utf-8\"><meta name=\"color-scheme\" content=\"light dark\">\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"></head>\
         <body style=\"margin:0;padding:16px;font:16px/1.5 system-ui,-apple-system,'Segoe UI',Roboto,sans-serif;overflow-wrap:anywhere\">\
         <div style=\"max-width:640px\"><p style=\"margin:0 0 16px;padding:4px 14px;border-left:6px solid {colour};line-height:1.3\">{head}</p>\
         {paragraphs}</div></body></html>"
    )
}

/// A line as it is.
fn paragraph(line: &str) -> String {
    format!("<p style=\"margin:10px 0\">{}</p>", escaped(line))
}

/// A line, its name above what it names; what is typed or called as it is written.
fn row(text: &str) -> String {
    let is_name = |name: &str| name.len() <= LONGEST_NAME && name.bytes().all(|b| b.is_ascii_lowercase() || b == b' ');
    let Some((name, told)) = text.split_once(": ").filter(|(name, _)| is_name(name)) else {
        return paragraph(text);
    };
    let told = told.trim_start();
    let shown = match name == "call" || told.starts_with("quell ") {
        true => format!(
            "<code style=\"font-size:14px;padding:2px 4px;border-radius:4px;background:rgba(128,128,128,.16)\">{}</code>",
            escaped(told)
        ),
        false => escaped(told),
    };
    format!("<p style=\"margin:10px 0\"><small style=\"opacity:.7\">{}</small><br>{shown}</p>", escaped(name))
}

#[async_trait::async_trait]
impl Channel for Email {
    async fn send(&self, letter: &Letter) -> Result<Receipt, SendError> {
        let Way::Email(to) = &letter.page.way else {
            return Err(SendError::Never { why: "the page is for another channel".to_owned() });
        };
        let message = self.message(letter, to).map_err(|why| SendError::Never { why })?;
        Ok(Receipt::Handed { reference: Some(self.hand(message).await?) })
    }
}

#[async_trait::async_trait]
impl Mails for Email {
    async fn mail(&self, mail: &Mail) -> Result<(String, String), SendError> {
        let (id, message) = self.said(mail).map_err(|why| SendError::Never { why })?;
        Ok((id, self.hand(message).await?))
    }
}

/// Whether no session began: the name has no address, nobody took the connection in time, or TLS did not come about. lettre 0.11 has
/// a kind of error for that alone, and shows it by these words alone.
fn is_unconnected(error: &lettre::transport::smtp::Error) -> bool {
    error.to_string().starts_with("Connection error")
}

#[cfg(test)]
mod tests {
    use super::super::plain::tests::letter;
    use super::*;

    fn server(url: &str) -> Server {
        Server { url: url.into(), login: None, from: "quell@example.org".into() }
    }

    #[test]
    fn addresses_of_servers_are_read_or_refused() {
        for good in
            ["smtp://localhost:1025", "smtp://mail.example.org", "smtps://mail.example.org:465", "smtp://[::1]:25"]
        {
            assert!(Email::new(server(good), None).is_ok(), "{good}");
        }
        for bad in ["localhost:1025", "http://localhost", "smtp://", "smtp://a@b", "smtp://h:port", "smtp://a:b:1"] {
            assert_eq!(Email::new(server(bad), None).err(), Some(WrongServer::Url), "{bad}");
        }
        let from = Server { from: "nobody".into(), ..server("smtp://localhost") };
        assert_eq!(Email::new(from, None).err(), Some(WrongServer::From("nobody".into())));
    }

    #[tokio::test]
    async fn what_surely_was_not_sent_may_go_later_and_what_was_cut_off_nobody_knows() {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let sends = async |url: String| {
            let mut letter = letter("t");
            letter.page.way = Way::Email("ana@example.org".into());
            Email::new(server(&url), None).unwrap().send(&letter).await.unwrap_err()
        };
        let listens = async |says: &'static [u8]| {
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            let port = listener.local_addr().unwrap().port();
            tokio::spawn(async move {
                let (mut stream, _) = listener.accept().await.unwrap();
                stream.write_all(says).await.unwrap();
                let _read = stream.read(&mut [0; 100]).await.unwrap();
            });
            port
        };
        let nobody = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
        let speaks_no_tls = listens(b"220 mail.example.org ESMTP\r\n").await;
        for url in [
            format!("smtp://127.0.0.1:{nobody}"),
            "smtp://mail.invalid".to_owned(),
            format!("smtps://127.0.0.1:{speaks_no_tls}"),
        ] {
            let error = sends(url.clone()).await;
            assert!(matches!(error, SendError::Later { .. }), "{url}: {error:?}");
        }
        let hangs_up = listens(b"220 mail.example.org ESMTP\r\n").await;
        let error = sends(format!("smtp://127.0.0.1:{hangs_up}")).await;
        assert!(matches!(error, SendError::Unknown { .. }), "{error:?}");
    }

    #[test]
    fn a_mail_is_in_its_thread_and_markup_of_others_means_nothing() {
        let email = Email::new(server("smtp://localhost:1025"), None).unwrap();
        let hostile = "<script>alert(1)</script>\r\nBcc: all@example.org";
        let mail =
            |letter: &Letter| String::from_utf8(email.message(letter, "ana@example.org").unwrap().formatted()).unwrap();
        let text = mail(&letter(hostile));
        assert!(text.contains("References: <i-0f1e2d3c4b5a@example.org>"), "{text}");
        assert!(text.contains("Message-ID: <") && text.contains("multipart/alternative"), "{text}");
        assert!(!text.lines().any(|line| line.starts_with("Bcc:")), "{text}");
        let mut letter = letter(hostile);
        let shown = html(&letter, None);
        assert!(shown.contains("&lt;script&gt;") && !shown.contains("<script"), "{shown}");
        letter.notice.state = State::Acknowledged("<b>ana".into());
        assert!(
            html(&letter, None).contains(">high</b> acknowledged by &lt;b&gt;ana<br>"),
            "how it stands is in the head"
        );
        letter.notice.state = State::Over;
        assert!(html(&letter, None).contains(">high</b> resolved<br>"));
    }

    #[test]
    fn a_mail_of_a_step_has_one_id_and_its_text_is_no_header_and_no_markup() {
        let email = Email::new(server("smtp://localhost:1025"), None).unwrap();
        let mail = |key: &str, subject: &str| Mail {
            key: key.to_owned(),
            to: vec!["ana@example.org".into(), "bo@example.org".into()],
            subject: subject.to_owned(),
            text: "<b>one</b>\ntwo".into(),
        };
        let (id, message) = email.said(&mail("r-1/tell", "a\r\nBcc: all@example.org")).unwrap();
        let text = String::from_utf8(message.formatted()).unwrap();
        assert!(text.contains(&format!("Message-ID: {id}")) && id.ends_with("@example.org>"), "{text}");
        assert!(text.contains("To: ana@example.org, bo@example.org"), "{text}");
        let head = text.split("\r\n\r\n").next().unwrap();
        assert!(!head.lines().any(|line| line.starts_with("Bcc:")), "{text}");
        assert_eq!(paragraph("<b>one</b>"), "<p style=\"margin:10px 0\">&lt;b&gt;one&lt;/b&gt;</p>");
        let of = |key: &str| email.said(&mail(key, "s")).unwrap().0;
        assert_eq!((of("r-1/tell"), of("r-1/tell#2") == id), (id.clone(), false));
    }
}

//! Mail: a page, or what a playbook says, as a message of text and HTML, by SMTP.
//!
//! Owns the message; the server that takes it has a file of its own. Keeps true: all mails of an incident stand in one thread; a page,
//! or a step's mail, has one Message-ID, however often it is sent.

mod server;

pub use server::{Server, WrongServer};

use super::mark::Links;
use super::markup::{escaped, line};
use super::plain::{TITLE, lines, subject, wanted};
use crate::send::ways::{Mail, Mails};
use lettre::Message;
use lettre::message::{Mailbox, MultiPart, header};
use quell_model::Hash;
use quell_model::notice::{Channel, Letter, Receipt, SendError, State, Way};
use server::Relay;

/// A line's name is not longer: what others wrote is no name.
const LONGEST_NAME: usize = 14;
/// Characters of the sum that a Message-ID has.
const ID: usize = 40;
/// See the module.
pub struct Email {
    relay: Relay,
    from: Mailbox,
    links: Option<Links>,
}

impl Email {
    /// A channel to this server. Connects when the first page goes out.
    ///
    /// # Errors
    /// What is wrong with the settings.
    pub fn new(server: Server, links: Option<Links>) -> Result<Self, WrongServer> {
        let from = server.from.parse().map_err(|_| WrongServer::From(server.from.clone()))?;
        Ok(Self { relay: Relay::of(server)?, from, links })
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
}

fn unwritten(error: lettre::error::Error) -> String {
    format!("the mail cannot be written: {error}")
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
        Ok(Receipt::Handed { reference: Some(self.relay.hand(&message).await?.said) })
    }
}

#[async_trait::async_trait]
impl Mails for Email {
    async fn mail(&self, mail: &Mail) -> Result<(String, String), SendError> {
        let (id, message) = self.said(mail).map_err(|why| SendError::Never { why })?;
        let handed = self.relay.hand(&message).await?;
        if handed.refused.is_empty() {
            return Ok((id, handed.said));
        }
        let why = format!("the mail {id} was taken, but not for all: {}", handed.refused.join(", "));
        Err(SendError::Never {
            why: format!("{why}; hint: an address that the server takes; the others have the mail"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::plain::tests::letter;
    use super::*;

    fn server(url: &str) -> Server {
        Server { url: url.into(), login: None, from: "quell@example.org".into() }
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
    fn a_long_title_is_a_subject_of_its_bounds_and_a_mail_of_lines_that_every_server_takes() {
        let email = Email::new(server("smtp://localhost:1025"), None).unwrap();
        for text in super::super::plain::tests::long() {
            let letter = super::super::plain::tests::question_of(&text);
            let message = email.message(&letter, "ana@example.org").unwrap();
            let told = message.headers().get::<header::Subject>().unwrap();
            assert_eq!(told.as_ref(), subject(&letter));
            let written = message.formatted();
            // RFC 5322, section 2.1.1: 998 and CRLF.
            let longest = written.split(|byte| *byte == b'\n').map(<[u8]>::len).max().unwrap();
            assert!(longest <= 999, "{longest}");
            let end = written.windows(4).position(|four| four == b"\r\n\r\n").unwrap();
            assert!(written[..end].is_ascii() && written.len() < 1 << 20, "{}", written.len());
        }
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

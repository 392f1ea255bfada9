//! What a playbook asks over HTTP, by the client that webhooks are sent by.
//!
//! Owns nothing of its own: one request is translated, and one answer. Keeps true: unless the request says that it may, it reaches no
//! address but those of the public net.

use super::http::{Ask, Bounds, Broken, Client, Target};
use super::public::is_public;
use crate::send::ways::{Asks, Heard, Place, Unheard, Wanted};
use hyper::header::{HeaderMap, HeaderName, HeaderValue};
use quell_model::Secret;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// Of the time that there is, a connection is waited for so long at the most.
const CONNECT: Duration = Duration::from_secs(10);

#[async_trait::async_trait]
impl Asks for Client {
    fn place(&self, url: &str) -> Option<Place> {
        // What the reader of addresses trims was not written to be sent.
        let to = Target::of(&Secret::new(url)).ok().filter(|_| url.trim() == url)?;
        let is_inner = to.ip().is_some_and(|ip| !is_public(ip));
        Some(Place { host: to.host(), port: to.port(), is_tls: to.is_tls(), is_inner })
    }

    async fn ask(&self, wanted: Wanted) -> Result<Heard, Unheard> {
        let refused = |why: String| Unheard::Refused(why);
        let to = Target::of(&Secret::new(wanted.url.as_str())).map_err(|error| refused(error.to_string()))?.plain();
        let to = if wanted.private { to } else { to.only_public() };
        let mut headers = Vec::new();
        for (name, value) in &wanted.headers {
            let (name, value) = (HeaderName::try_from(name.as_str()), HeaderValue::try_from(value.as_str()));
            // Neither is repeated: the value may be a secret.
            headers.push(
                name.ok().zip(value.ok()).ok_or_else(|| refused("what a header is to hold, none can".to_owned()))?,
            );
        }
        let method = hyper::Method::from_bytes(wanted.method.as_str().as_bytes())
            .map_err(|_| refused("no method".to_owned()))?;
        let begun = Instant::now();
        let bounds = Bounds { connect: CONNECT.min(wanted.within), answer: wanted.within, largest: wanted.most };
        let ask = Ask { method, headers, body: wanted.body };
        let answered = match self.bounded(bounds).open(&to).await {
            Ok(stream) => {
                let answer = wanted.within.saturating_sub(begun.elapsed());
                self.bounded(Bounds { answer, ..bounds }).ask_over(stream, &to, ask).await
            }
            Err(broken) => Err(broken),
        };
        match answered {
            Ok(answer) => Ok(Heard {
                status: answer.status,
                headers: texts(&answer.headers),
                body: answer.body,
                cut: answer.cut,
                after: answer.after,
            }),
            Err(Broken::Unsent(why)) => Err(Unheard::Unsent(why)),
            Err(Broken::Unknown(why)) => Err(Unheard::Unknown(why)),
            Err(Broken::Refused(why)) => Err(Unheard::Refused(why)),
        }
    }
}

/// Names in small letters, as the client gives them, and what they hold.
fn texts(headers: &HeaderMap) -> BTreeMap<String, String> {
    let mut all: BTreeMap<String, String> = BTreeMap::new();
    for (name, value) in headers {
        let value = String::from_utf8_lossy(value.as_bytes()).into_owned();
        all.entry(name.as_str().to_owned()).and_modify(|all| *all = format!("{all}, {value}")).or_insert(value);
    }
    all
}

#[cfg(test)]
mod tests {
    use super::super::webhook::tests::{answer, receives};
    use super::*;
    use quell_model::hosts::Method;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    fn wanted(url: &str, private: bool) -> Wanted {
        Wanted {
            method: Method::Get,
            url: url.to_owned(),
            headers: vec![("x-from".into(), "quell".into())],
            body: Vec::new(),
            private,
            within: Duration::from_secs(30),
            most: 10,
        }
    }

    #[tokio::test]
    async fn an_answer_is_told_as_far_as_there_is_room_and_leads_nowhere() {
        let moved = "HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:9/\r\nx: a\r\nx: b\r\ncontent-length: 0\r\n\r\n";
        let (at, got) = receives(&[&answer("200 OK", "0123456789"), &answer("200 OK", "0123456789a"), moved]).await;
        let client = Client::new().unwrap();
        let mut all = Vec::new();
        for _ in 0..3 {
            all.push(Asks::ask(&client, wanted(&format!("{at}/x?y=1"), true)).await.unwrap());
        }
        let told: Vec<(u16, &[u8], bool)> = all.iter().map(|one| (one.status, &one.body[..], one.cut)).collect();
        assert_eq!(told, [(200, &b"0123456789"[..], false), (200, b"0123456789", true), (302, b"", false)]);
        assert_eq!(
            (all[2].headers["location"].as_str(), all[2].headers["x"].as_str()),
            ("http://127.0.0.1:9/", "a, b")
        );
        let got = got.await.unwrap();
        assert!(got.iter().all(|got| got.first == "GET /x?y=1 HTTP/1.1" && got.header("x-from") == Some("quell")));
    }

    #[tokio::test]
    async fn what_stands_in_the_head_counts_however_long_the_body_takes() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let at = format!("http://{}?y=1", listener.local_addr().unwrap());
        let speaks = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut read = Vec::new();
            while !read.ends_with(b"\r\n\r\n") {
                assert!(stream.read_buf(&mut read).await.unwrap() > 0, "it hung up");
            }
            stream.write_all(b"HTTP/1.1 201 Created\r\ncontent-length: 9\r\n\r\nabc").await.unwrap();
            // Until it is hung up on.
            stream.read_to_end(&mut read).await.unwrap();
            String::from_utf8(read).unwrap()
        });
        let wanted = Wanted { within: Duration::from_secs(2), ..wanted(&at, true) };
        let heard = Asks::ask(&Client::new().unwrap(), wanted).await.unwrap();
        assert_eq!((heard.status, &heard.body[..], heard.cut), (201, &b"abc"[..], true));
        let read = speaks.await.unwrap();
        assert!(read.starts_with("GET /?y=1 HTTP/1.1\r\n"), "{read}");
    }

    #[tokio::test]
    async fn an_address_that_is_not_public_is_connected_to_only_where_that_is_meant() {
        let (at, got) = receives(&[&answer("200 OK", "")]).await;
        let port = at.rsplit_once(':').unwrap().1.to_owned();
        let client = Client::new().unwrap();
        // The last one is what some resolvers take for 127.0.0.1.
        for host in ["127.0.0.1", "localhost", "[::1]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "0.0.0.0", "127.1"] {
            let asked = Asks::ask(&client, wanted(&format!("http://{host}:{port}/"), false)).await;
            assert!(matches!(&asked, Err(Unheard::Refused(_) | Unheard::Unsent(_))), "{host}: {asked:?}");
            let is_refused =
                matches!(&asked, Err(Unheard::Refused(why)) if why.contains("no address of the public net"));
            assert!(is_refused || host == "127.1", "{host}: {asked:?}");
        }
        let asked = Asks::ask(&client, wanted(&format!("http://localhost:{port}/"), true)).await;
        assert!(asked.is_ok(), "{asked:?}");
        assert_eq!(got.await.unwrap().len(), 1, "nothing else came");
    }

    #[test]
    fn where_an_address_leads_is_read_as_it_is_asked() {
        let client = Client::new().unwrap();
        let place = |url: &str| client.place(url).map(|place| (place.host, place.port, place.is_tls, place.is_inner));
        assert_eq!(place("https://Tickets.example.org/x"), Some(("tickets.example.org".into(), 443, true, false)));
        assert_eq!(place("http://[::1]:8080"), Some(("::1".into(), 8080, false, true)));
        for bad in [
            "",
            "tickets.example.org",
            "ftp://x/",
            "https://me@x/",
            "https://x/ ",
            "https://x\\@evil.org/",
            "https://",
            "https://x:70000/",
        ] {
            assert_eq!(place(bad), None, "{bad}");
        }
    }
}

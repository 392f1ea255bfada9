//! Links of mails: what they lead to, what they do once they are confirmed, and all that does nothing.
//!
//! The daemon listens on the loopback; the pages are asked for as a browser does, and as those do that scan mails.

use super::*;
use std::io::Read as _;
use std::net::TcpStream;

/// ana may answer, bo may look, the lead is told at last.
const PEOPLE: &str = "people:\n  ana: { name: Ana, email: ana@example.org, roles: [responder, approver], time_zone: Asia/Tokyo }\n  \
    bo: { email: bo@example.org, roles: [viewer] }\n  lead: { email: lead@example.org, roles: [admin] }\n\
    channels:\n  email: { smtp: { env: TEST_SMTP }, from: quell@example.org }\n\
    approvers: { security: { people: [ana], quorum: 1 } }\n";

const ASKS: &str = "playbook: was-it-you\non: { detections: { rules: [marked] } }\nmode: enforce\nsteps:\n  was_it:\n    \
    ask: { question: \"Was <it> you?\", by: security, choices: [me, not_me], within: 1h, otherwise: not_me }\n";

fn policies(first: &str) -> String {
    format!(
        "{PEOPLE}policies:\n  default:\n    steps: [{{ notify: [{first}], by: [email], wait: 1h }}]\n    \
         last_resort: [person: lead]\nroutes: [{{ policy: default }}]\n"
    )
}

/// A daemon that is reached where its links say.
struct Site {
    night: Night,
    browser: Browser,
}

impl std::ops::Deref for Site {
    type Target = Browser;

    fn deref(&self) -> &Browser {
        &self.browser
    }
}

/// Whoever reads mails, and follows the links in them to this port.
pub(super) struct Browser {
    pub(super) port: u16,
}

/// What a page was.
pub(super) struct Shown {
    pub(super) status: u16,
    head: String,
    pub(super) body: String,
}

impl Shown {
    /// The hidden field of its form; none: it has no form.
    pub(super) fn token(&self) -> Option<String> {
        let (_, rest) = self.body.split_once("name=\"token\" value=\"")?;
        Some(rest.split('"').next().unwrap().to_owned())
    }

    #[track_caller]
    pub(super) fn says(&self, what: &str) {
        assert!(self.body.contains(what), "`{what}` is not in {}: {}", self.status, self.body);
    }
}

impl Site {
    fn new(first: &str, files: &[(&str, &str)]) -> Self {
        let port = free_port();
        let outside = format!(
            "public_url: http://127.0.0.1:{port}\naccess: {{ listen: {{ address: \"127.0.0.1:{port}\", tokens: [{{ name: ci, role: viewer, sha256: {} }}] }} }}\n",
            "0".repeat(64)
        );
        let playbooks = if files.is_empty() { "" } else { "mode: enforce\n" };
        let dirs = if files.is_empty() { "shipped: false }" } else { "shipped: false, dirs: [playbooks] }" };
        let config = format!("{}{outside}{playbooks}", CONFIG.replacen("shipped: false }", dirs, 1));
        let site = Self { night: Night::with(&policies(first), &config, files), browser: Browser { port } };
        wait_until("it listens", || TcpStream::connect(("127.0.0.1", port)).is_ok());
        site
    }

    /// Records of the journal that is written to by nobody else now.
    fn records(&self) -> u64 {
        let db = rusqlite::Connection::open(self.night.home.path().join("state/journal.db")).unwrap();
        db.query_row("SELECT count(*) FROM records", [], |row| row.get(0)).unwrap()
    }

    /// The mail with this number to somebody, once it is known to have gone.
    fn mail(&self, server: &Server, to: &str, number: usize) -> Value {
        let address = format!("{to}@example.org");
        wait_until("they are told", || server.to(&address).len() > number);
        server.to(&address).remove(number)
    }
}

impl Browser {
    /// One exchange, with these lines of a head.
    fn ask(&self, method: &str, path: &str, head: &str, body: &str) -> Shown {
        let mut socket = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        socket.set_read_timeout(Some(crate::cli::PATIENCE)).unwrap();
        let length = body.len();
        let port = self.port;
        let text = format!(
            "{method} {path} HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\nconnection: close\r\ncontent-length: {length}\r\n{head}\r\n{body}"
        );
        // Whoever refuses a long body does not read it to its end.
        drop(socket.write_all(text.as_bytes()));
        let mut answer = Vec::new();
        drop(socket.read_to_end(&mut answer));
        let answer = String::from_utf8(answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        Shown { status, head: head.to_lowercase(), body: body.to_owned() }
    }

    pub(super) fn get(&self, path: &str) -> Shown {
        self.ask("GET", path, "", "")
    }

    /// What a browser sends when a button is pressed.
    pub(super) fn press(&self, path: &str, act: &str, token: &str) -> Shown {
        let head = "content-type: application/x-www-form-urlencoded\r\norigin: null\r\nsec-fetch-site: same-origin\r\n";
        self.ask("POST", path, head, &format!("token={token}&why=seen+it%21&act={}", act.replace(':', "%3A")))
    }

    /// The path of the link in a mail.
    pub(super) fn link(&self, mail: &Value) -> String {
        let text = mail["text"].as_str().unwrap();
        let begin = format!("http://127.0.0.1:{}", self.port);
        let link = text.lines().find_map(|line| line.strip_prefix(&begin)).unwrap_or_else(|| panic!("{text}"));
        assert!(mail["html"].as_str().unwrap().contains(&format!("{begin}{link}")), "{mail}");
        link.to_owned()
    }
}

#[test]
fn a_link_acts_once_and_only_when_it_is_confirmed() {
    let site = Site::new("person: ana", &[]);
    let (server, id) = (site.night.serves(), site.night.attacked());
    let first = site.link(&site.mail(&server, "ana", 0));
    wait_until("all of it is written", || site.night.story(&id).contains("was handed on"));
    let (before, story) = (site.records(), site.night.story(&id));

    // Whatever follows links, and whatever is no answer.
    let page = site.get(&first);
    assert_eq!(page.status, 200, "{}", page.body);
    for line in [
        "content-security-policy: default-src 'none'; style-src 'unsafe-inline'; form-action 'self'",
        "cache-control: no-store",
        "referrer-policy: no-referrer",
        "x-frame-options: deny",
        "x-content-type-options: nosniff",
    ] {
        assert!(page.head.contains(line), "{line}: {}", page.head);
    }
    for shown in [
        "&lt;script&gt;x&lt;/script&gt; shell",
        "value=\"acknowledge\"",
        "value=\"undo\"",
        "<b>Ana</b> (ana)",
        "JST",
        &id,
    ] {
        page.says(shown);
    }
    assert!(!page.body.contains("<script"), "{}", page.body);
    let token = page.token().unwrap();
    assert_eq!(site.ask("GET", &first, "sec-purpose: prefetch\r\n", "").status, 200);
    let head = site.ask("HEAD", &first, "", "");
    assert_eq!((head.status, head.body.as_str()), (200, ""));
    let wrong = site.ask("PUT", &first, "", "");
    assert_eq!(wrong.status, 405);
    assert!(wrong.head.contains("allow: get, head, post"), "{}", wrong.head);
    let form = format!("token={token}&why=&act=acknowledge");
    for (head, body, status) in [
        ("sec-fetch-site: cross-site\r\n", form.clone(), 403),
        ("origin: https://example.org\r\n", form.clone(), 403),
        ("", "token=0&why=&act=acknowledge".to_owned(), 400),
        ("", form.replace("acknowledge", "delete"), 400),
        ("", format!("{form}&act=resolve"), 400),
        ("", format!("token={token}&act=acknowledge&why={}", "x".repeat(1_001)), 413),
        ("", format!("token={token}&act=acknowledge&why={}", "x".repeat(20_000)), 413),
    ] {
        let shown = site.ask("POST", &first, head, &body);
        assert_eq!(shown.status, status, "{head}{}: {}", &body[..body.len().min(90)], shown.body);
    }
    let altered = format!("{}x", first);
    for (method, path) in [("GET", altered.as_str()), ("POST", &altered), ("GET", "/answer/q1.x.1.ana.00")] {
        let shown = site.ask(method, path, "", &form);
        assert_eq!(shown.status, 404, "{method} {path}");
        assert!(!shown.body.contains("shell") && !shown.body.contains(&id), "{}", shown.body);
    }
    assert_eq!((site.records(), site.night.story(&id)), (before, story), "nothing of all that did anything");

    // On the socket it is not: whoever is there has the API.
    assert_eq!(site.night.daemon.exchange("GET", &first, "").unwrap().status, 404);

    let done = site.press(&first, "acknowledge", &token);
    assert_eq!(done.status, 200, "{}", done.body);
    done.says(&format!("You look after incident `{id}`"));
    done.says("acknowledged by ana");
    let story = site.night.story(&id);
    assert!(story.contains("ana answered by email"), "{story}");
    assert_eq!(site.night.daemon.ask_json(&["incident", "list"])[0]["state"], "acknowledged");
    let again = site.press(&first, "acknowledge", &token);
    assert_eq!((again.status, site.night.story(&id)), (200, story), "said twice, it is so once: {}", again.body);
    // What the link was not used for is left, on the page that tells what was done too.
    for page in [&done, &again, &site.get(&first)] {
        assert_eq!((page.status, page.token().as_deref()), (200, Some(token.as_str())), "{}", page.body);
        page.says("acknowledged by ana");
        page.says("value=\"resolve\"");
        assert!(!page.body.contains("value=\"acknowledge\""), "{}", page.body);
    }

    // It is asked anew, twice: what the message between says does not stand any more.
    site.night.daemon.ask(&["incident", "unack", &id]).ends(0);
    let second = site.link(&site.mail(&server, "ana", 1));
    let token = site.get(&second).token().unwrap();
    site.night.daemon.ask(&["incident", "ack", &id]).ends(0);
    site.night.daemon.ask(&["incident", "unack", &id]).ends(0);
    let third = site.link(&site.mail(&server, "ana", 2));
    let looked = site.get(&second);
    assert_eq!((looked.status, looked.token()), (409, None), "{}", looked.body);
    looked.says("of an earlier message");
    let stale = site.press(&second, "resolve", &token);
    assert_eq!(stale.status, 409, "{}", stale.body);
    stale.says("raised anew");
    stale.says("does not look after it any longer");
    assert_eq!(site.night.daemon.ask_json(&["incident", "list"])[0]["state"], "open");
    assert!(site.night.story(&id).contains("has been asked anew since: it changes nothing"));

    let token = site.get(&third).token().unwrap();
    let over = site.press(&third, "resolve", &token);
    assert_eq!(over.status, 200, "{}", over.body);
    over.says("seen it!");
    wait_until("ana is told of the end", || server.to("ana@example.org").len() == 4);
    assert!(!site.mail(&server, "ana", 3)["text"].as_str().unwrap().contains("/answer/"), "there is nothing to answer");
    let looked = site.get(&second);
    assert_eq!(looked.status, 410, "{}", looked.body);
    looked.says("Ended");
    // Nobody follows a link who is not among the people any more.
    let without = policies("person: lead").replace("  ana: ", "  an: ").replace("[ana]", "[an]");
    fs::write(site.night.home.path().join("escalation.yaml"), without).unwrap();
    wait_until("ana is gone", || site.get(&second).status == 403);
    assert!(!site.get(&second).body.contains("shell"));
    let marks = site.night.daemon.said();
    assert!(!marks.contains(first.rsplit('/').next().unwrap()), "no mark stands in the log");
}

#[test]
fn a_question_shows_what_it_means_and_who_may_not_answers_nothing() {
    let site = Site::new("person: bo", &[("playbooks/asks.yaml", ASKS)]);
    let (server, id) = (site.night.serves(), site.night.attacked());
    wait_until("ana is asked", || server.to("ana@example.org").len() == 1);
    let asked = site.mail(&server, "ana", 0);
    assert!(asked["subject"].as_str().unwrap().contains("answer wanted: Was <it> you?"), "{asked}");
    let text = asked["text"].as_str().unwrap();
    assert!(
        text.contains("detected:     <script>x</script> shell") && text.contains("without an answer: not_me"),
        "{text}"
    );
    let link = site.link(&asked);
    let page = site.get(&link);
    for shown in [
        "Was &lt;it&gt; you?",
        "<dt>Detected</dt><dd>&lt;script&gt;x&lt;/script&gt; shell",
        "May answer",
        "1 of ana",
        "Without an answer",
        "<b>not_me</b>",
        " min",
        "Not me",
    ] {
        page.says(shown);
    }
    // bo looks, and may do nothing.
    let to_bo = site.link(&site.mail(&server, "bo", 0));
    let looked = site.get(&to_bo);
    assert_eq!((looked.status, looked.token()), (200, None), "{}", looked.body);
    looked.says("bo may not do that");
    let sum = quell_model::Hash::of(to_bo.rsplit('/').next().unwrap().as_bytes());
    let token = quell_model::Hash::of_parts(&[b"form", &sum.0]).to_string();
    let refused = site.press(&to_bo, "acknowledge", &token);
    assert_eq!(refused.status, 403, "{}", refused.body);
    assert_eq!(site.night.daemon.ask_json(&["incident", "list"])[0]["state"], "open");
    assert!(
        site.night.story(&id).contains("bo wanted `acknowledge`"),
        "that they tried is kept: {}",
        site.night.story(&id)
    );

    let done = site.press(&link, "choose:me", &page.token().unwrap());
    assert_eq!(done.status, 200, "{}", done.body);
    done.says("your answer is `me`".replacen('y', "Y", 1).as_str());
    wait_until("the run goes on", || site.night.daemon.runs()[0]["state"] == "succeeded");
    let run = site.night.daemon.runs().remove(0).to_string();
    assert!(run.contains("\"via\":\"email\"") && run.contains("\"by\":\"ana\""), "{run}");
    let story = site.night.story(&id);
    assert!(story.contains("ana says me by email"), "{story}");
    let over = site.get(&link);
    assert_eq!((over.status, over.token()), (410, None), "{}", over.body);
}

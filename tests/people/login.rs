//! Mail over TLS with a login, by a real server that wants both: the password goes nowhere else.

use super::{CONFIG, RULE, Server, escalation, free_port};
use crate::cli::{command, wait_until, write};
use crate::daemon::Daemon;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// No name of this machine's own, for which quell would speak without TLS.
const HOST: &str = "127.0.0.2";

/// A daemon that mails to a server which wants a login.
struct Night {
    home: TempDir,
    port: u16,
    certificate: (PathBuf, PathBuf),
}

impl Night {
    fn new(password: &str) -> Self {
        let (home, port) = (tempfile::tempdir().unwrap(), free_port());
        let made = rcgen::generate_simple_self_signed([HOST.to_owned()]).unwrap();
        let channel = "from: quell@example.org, user: { file: user }, password: { file: password }";
        for (file, text) in [
            ("quell.yaml", CONFIG),
            ("events.jsonl", ""),
            ("rules/marked.yml", RULE),
            (
                "escalation.yaml",
                &escalation(&["ana", "lead"], &["ana"], "1h").replace("from: quell@example.org", channel),
            ),
            ("user", "quell"),
            ("password", password),
            ("cert.pem", &made.cert.pem()),
            ("key.pem", &made.signing_key.serialize_pem()),
        ] {
            let path = write(home.path(), file, text);
            // A secret that others can read is none.
            std::fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
        }
        let certificate = (home.path().join("cert.pem"), home.path().join("key.pem"));
        Self { home, port, certificate }
    }

    fn serves(&self, how: &str) -> Server {
        let (certificate, key) = &self.certificate;
        Server::start_with(
            self.home.path(),
            self.port,
            &[HOST, how, certificate.to_str().unwrap(), key.to_str().unwrap()],
        )
    }

    /// Starts, trusts whom this file vouches for, and sees something; gives the daemon and its incident.
    fn attacked(&self, scheme: &str, trusted: &Path) -> (Daemon, String) {
        let mut up = command(&["up"]);
        up.env("SSL_CERT_FILE", trusted).env("TEST_SMTP", format!("{scheme}://{HOST}:{}", self.port));
        let home = self.home.path();
        let mut daemon = Daemon::start(up, Some(&home.join("quell.yaml")), &home.join("state"), &home.join("log"));
        daemon.stands();
        let id = super::see(&daemon, home);
        (daemon, id)
    }
}

#[test]
fn a_login_goes_over_tls_from_the_beginning_or_from_starttls_on() {
    for (scheme, how) in [("smtps", "wrapped"), ("smtp", "starttls")] {
        let night = Night::new("hunter2");
        let server = night.serves(how);
        let (daemon, _) = night.attacked(scheme, &night.certificate.0);
        wait_until("the mail comes", || server.to("ana@example.org").len() == 1);
        let mail = &server.mails()[0];
        assert_eq!((mail["login"].as_str(), mail["starttls"].as_bool()), (Some("quell"), Some(how == "starttls")));
        assert!(!daemon.said().contains("hunter2"));
    }
}

#[test]
fn a_password_that_is_wrong_is_told_and_one_without_tls_is_not_sent() {
    // Each: what quell is given, what the server does, whom this machine trusts, and what the story says.
    for (password, how, is_trusted, told) in [
        ("swordfish", "starttls", true, "535"),
        ("hunter2", "plain", true, "STARTTLS"),
        ("hunter2", "starttls", false, "certificate"),
    ] {
        let night = Night::new(password);
        let server = night.serves(how);
        let other = rcgen::generate_simple_self_signed([HOST.to_owned()]).unwrap();
        write(night.home.path(), "other.pem", &other.cert.pem());
        let other = night.home.path().join("other.pem");
        let (daemon, id) = night.attacked("smtp", if is_trusted { &night.certificate.0 } else { &other });
        let story = || daemon.ask(&["incident", "show", &id]).ends(0).out;
        wait_until(told, || story().contains(told));
        let story = story();
        assert!(!story.contains(password) && !daemon.said().contains(password), "{story}");
        let tried = server.mails().len();
        assert_eq!(tried > 0, how == "starttls" && is_trusted, "{how}: {:?}", server.mails());
        assert!(server.to("ana@example.org").is_empty() && server.to("lead@example.org").is_empty());
    }
}

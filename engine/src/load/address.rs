//! Addresses of what people are told by: `https://…`, `smtp://HOST:PORT`.
//!
//! Says what is wrong with one without repeating it: a path may be a secret. Never asks for it.

use http::Uri;
use http::uri::Authority;

/// What HTTP is spoken with.
pub(super) const HTTP: &[&str] = &["https", "http"];
/// What mail is handed to.
pub(super) const SMTP: &[&str] = &["smtp", "smtps"];

/// Why a text is no address with one of these schemes; none: it is one.
pub(super) fn wrong(text: &str, schemes: &[&str]) -> Option<String> {
    let Ok(uri) = text.parse::<Uri>() else { return Some("is no address".to_owned()) };
    if !uri.scheme_str().is_some_and(|scheme| schemes.contains(&scheme)) {
        let schemes: Vec<String> = schemes.iter().map(|scheme| format!("`{scheme}://`")).collect();
        return Some(format!("does not begin with {}", schemes.join(" or ")));
    }
    let authority = uri.authority().map(Authority::as_str).unwrap_or_default();
    if authority.contains('@') {
        return Some("holds a user's name or password".to_owned());
    }
    let host = uri.host().unwrap_or_default();
    // The parser takes whatever stands after the `:`.
    if host.is_empty() || authority != host && uri.port_u16().is_none_or(|port| port == 0) {
        return Some("names no host, or what is after its `:` is no port".to_owned());
    }
    let is_bare = matches!(uri.path(), "" | "/") && uri.query().is_none();
    (schemes == SMTP && !is_bare).then(|| "has something behind the host and the port".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_one_or_what_is_wrong_with_it_is_said_without_it() {
        for right in ["https://ntfy.sh/hunter2", "http://127.0.0.1:8080", "https://x/y?z=1", "http://[::1]:80/"] {
            assert_eq!(wrong(right, HTTP), None, "{right}");
        }
        for right in ["smtp://localhost:1025", "smtps://mail.example.org", "smtp://mail/"] {
            assert_eq!(wrong(right, SMTP), None, "{right}");
        }
        for bad in [
            "",
            "hunter2",
            "ftp://hunter2",
            "https://",
            "https://me:hunter2@x",
            "http://x:hunter2",
            "http://x:0",
            "a hunter2",
        ] {
            let said = wrong(bad, HTTP).unwrap_or_else(|| panic!("{bad}"));
            assert!(!said.contains("hunter2"), "{said}");
        }
        for bad in ["localhost:1025", "http://localhost", "smtp://x/path", "smtp://x:70000", "smtp://user:hunter2@x"] {
            assert!(wrong(bad, SMTP).is_some(), "{bad}");
        }
    }
}

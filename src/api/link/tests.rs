//! What is a form of a page, and whether a page of ours sent it. What the pages do is tried at a real daemon (`tests/people`).

use super::*;

fn read(body: &str) -> Option<Form> {
    Form::read(body.as_bytes())
}

#[test]
fn a_form_is_read_whole_or_not_at_all() {
    let form = read("token=t0&why=it+is%0D%0A%C3%BC+%3Cb%3E+&act=choose%3Anot_me").unwrap();
    assert_eq!(form, Form { act: Act::Choose("not_me".into()), why: "it is\nü <b>".into(), token: "t0".into() });
    assert_eq!(read("act=undo&token=t0").unwrap().why, "");
    for bad in [
        "",
        "act=undo",
        "token=t0",
        "act=delete&token=t0",
        "act=undo&act=keep&token=t0",
        "act=undo&token=t0&more=1",
        "{}",
    ] {
        assert_eq!(read(bad), None, "{bad}");
    }
}

#[test]
fn a_form_comes_from_our_own_page_as_far_as_the_browser_says() {
    let from = |lines: &[(&'static str, &str)]| {
        let mut headers = HeaderMap::from_iter([(header::HOST, HeaderValue::from_static("10.0.0.1:7071"))]);
        headers.extend(lines.iter().map(|(name, value)| (HeaderName::from_static(name), value.parse().unwrap())));
        is_own(&headers, Some("https://quell.example.org"))
    };
    for ours in [
        &[("sec-fetch-site", "same-origin"), ("origin", "null")][..],
        &[("origin", "null")],
        &[],
        &[("origin", "https://quell.example.org")],
        &[("origin", "http://10.0.0.1:7071")],
    ] {
        assert!(from(ours), "{ours:?}");
    }
    for others in [
        &[("sec-fetch-site", "cross-site"), ("origin", "null")][..],
        &[("sec-fetch-site", "same-site")],
        &[("sec-fetch-site", "none")],
        &[("origin", "https://quell.example.org.evil.example")],
        &[("origin", "https://evil.example")],
        &[("origin", "quell.example.org")],
    ] {
        assert!(!from(others), "{others:?}");
    }
}

#[test]
fn what_may_still_be_done_is_answered_anew_by_nobody_who_has_not_looked() {
    let of = |refusal: Refusal| Outcome::from(Problem::from(refusal));
    for unknown in [Refusal::Late("20s".to_owned()), Refusal::Gone] {
        let outcome = of(unknown);
        assert!(!outcome.ok && may_be_done(outcome.status), "{outcome:?}");
    }
    for known in [Refusal::NotNow(String::new()), Refusal::Denied(String::new()), Refusal::Wrong(String::new())] {
        let outcome = of(known);
        assert!(!outcome.ok && !may_be_done(outcome.status), "{outcome:?}");
    }
    assert_eq!(of(Refusal::Late(String::new())).status, StatusCode::GATEWAY_TIMEOUT);
    assert!(of(Refusal::Late(String::new())).hint.is_some_and(|hint| hint.contains("look how it stands")));
}

//! Channels: where secrets are, what is off, and that no mistake shows a secret.

use super::{load, print, wrong};
use crate::escalation::channels::Template;
use crate::load::SecretFrom;
use quell_model::{MistakeLevel, Secret};
use std::time::Duration;

fn of(channels: &str) -> String {
    format!(
        "people: {{ ana: {{}} }}\npolicies: {{ default: {{ steps: [{{ notify: [channel: console], wait: 5m }}], last_resort: [channel: console] }} }}\nchannels:\n  console: {{}}\n{channels}"
    )
}

#[test]
fn channels_are_read_as_they_are_meant() {
    let text = of(r#"  slack:
    bot_token: { env: CARGO_PKG_NAME }
    signing_secret: [{ env: CARGO_PKG_NAME }, { file: keys/former }]
    api_url: http://127.0.0.1:9/api/
    channel: C0123456789
  email: { smtp: { env: QUELL_TEST_SMTP }, user: { env: CARGO_PKG_NAME }, password: { env: CARGO_PKG_NAME }, from: q@example.org }
  beat: { url: https://beats.example.org/hunter2 }
  webhooks:
    pager: { template: pagerduty, secret: { env: CARGO_PKG_NAME } }
    own: { template: json, url: http://127.0.0.1/hook, secret: { file: /etc/quell/hook } }
"#);
    let (read, mistakes) = load(&text);
    let channels = read.unwrap_or_else(|| panic!("{}", print(&mistakes))).channels;
    let env = |name: &str| SecretFrom::Env(name.to_owned());
    let slack = channels.slack.unwrap();
    assert_eq!(slack.bot_token, env("CARGO_PKG_NAME"));
    assert_eq!(slack.signing_secret, [env("CARGO_PKG_NAME"), SecretFrom::File("/etc/quell/keys/former".into())]);
    assert_eq!((slack.api_url.as_str(), slack.channel.as_str()), ("http://127.0.0.1:9/api", "C0123456789"));
    assert_eq!(slack.app_token, None);
    let email = channels.email.unwrap();
    assert_eq!((email.smtp, email.user), (env("QUELL_TEST_SMTP"), Some(env("CARGO_PKG_NAME"))));
    let beat = channels.beat.unwrap();
    assert_eq!(beat.url, SecretFrom::Fixed(Secret::new("https://beats.example.org/hunter2")));
    assert_eq!(beat.every, Duration::from_secs(60));
    let pager = &channels.webhooks["pager"];
    assert_eq!(pager.template, Template::PagerDuty);
    assert_eq!(pager.url, SecretFrom::Fixed(Secret::new("https://events.pagerduty.com/v2/enqueue")));
    assert_eq!(channels.webhooks["own"].secret, Some(SecretFrom::File("/etc/quell/hook".into())));
    assert!(channels.console);
}

#[test]
fn a_channel_whose_secrets_cannot_be_read_is_off_and_is_no_error() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("escalation.yaml");
    std::fs::write(dir.path().join("url"), "not an address").unwrap();
    std::fs::set_permissions(dir.path().join("url"), std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let text = of(
        r##"  slack: { bot_token: { env: QUELL_TEST_BOT }, app_token: { env: QUELL_TEST_APP }, channel: "#incidents" }
  email: { smtp: { env: CARGO_PKG_NAME }, from: q@example.org }
  beat: { url: { file: url } }
  webhooks: { phone: { template: ntfy, url: { file: none } }, ours: { template: json, url: "http://localhost", secret: { env: CARGO_PKG_NAME } } }
"##,
    );
    let (read, mistakes) = super::escalation(&file, &text, &super::Roles::default());
    let channels = read.unwrap().channels;
    assert!(channels.slack.is_some() && channels.email.is_some(), "it may be on at the next reload");
    let off: Vec<_> = mistakes.iter().filter(|mistake| mistake.what.contains("is off for now")).collect();
    assert!(off.iter().all(|mistake| mistake.level == MistakeLevel::Warning && mistake.line_text.is_none()));
    let off: Vec<String> = off.iter().map(|mistake| format!("{}: {}", mistake.span.line, mistake.what)).collect();
    insta::assert_snapshot!(off.join("\n"));
}

#[test]
fn every_mistake_of_channels_is_told() {
    let mut text = of(r#"  slack:
    bot_token: { env: SLACK_BOT_TOKEN, file: x }
    signing_secret: [{ env: A }, { env: B }, { env: C }]
    api_url: slack.com/api
    channel: incidents
    chanell: "[#drills"
  email:
    smtp: localhost:1025
    user: { env: MAIL_USER }
    from: quell
  beat: { every: 100ms }
  webhooks:
    slack: { template: ntfi, url: ftp://x }
    "a b": {}
    pager: { template: pagerduty }
    own: { template: json, url: { env: OWN_URL } }
    third: { template: json, secret: { env: OWN_KEY } }
  pagerduty: {}
"#);
    text.push_str("people2: {}\n");
    let told = wrong(&text);
    insta::assert_snapshot!(told);
    for (channels, what) in [
        ("  slack: {}\n", "`slack` has no `bot_token`"),
        ("  email: {}\n", "`email` has no `smtp`"),
        ("  webhooks: {}\n", "`webhooks` is empty"),
        ("  email: { smtp: 25, from: q@example.org }\n", "`smtp` of `email` does not say where its value is"),
    ] {
        assert!(wrong(&of(channels)).contains(what), "{channels}");
    }
    assert!(wrong("people: { ana: {} }\nchannels: { console: true }\n").contains("`console` is true or false"));
}

#[test]
fn a_secret_that_stands_in_the_file_is_a_mistake_that_does_not_show_it() {
    for channels in [
        "  slack: hunter2\n",
        "  slack: { bot_token: hunter2, channel: \"#x\" }\n",
        "  slack: { bot_token: [hunter2], channel: \"#x\" }\n",
        "  slack: { bot_token: { value: hunter2 }, channel: \"#x\" }\n",
        "  slack: { bot_token: { env: hunter2-hunter2 }, channel: incidents }\n",
        "  slack: { bot_tokn: hunter2, channel: \"#x\" }\n",
        "  slack: { signing_secret: [hunter2, { env: [hunter2] }], channel: \"#x\" }\n",
        "  slack:\n    bot_token: hunter2\n    channel: 5\n",
        "  email: { smtp: \"smtp://me:hunter2@mail\", from: q@example.org }\n",
        "  email: { smtp: \"smtp://mail\", password: hunter2, from: q }\n",
        "  beat: { url: \"hunter2\" }\n",
        "  beat: { url: \"https://x:hunter2\" }\n",
        "  webhooks: { a: { template: json, url: \"http://x\", secret: hunter2 } }\n",
        "  webhooks: { a: { template: x, url: \"http://x/hunter2\" } }\n",
        "  webhooks: { a: hunter2 }\n",
        "  webhooks: [hunter2]\n",
        "  slak: { bot_token: hunter2 }\n",
        "  slack:\n    bot_token: \"hunter2\n",
        "  slack:\n    bot_token: hunter2: hunter2\n",
    ] {
        let text = of(channels);
        let (read, mistakes) = load(&text);
        assert!(read.is_none(), "{channels}");
        assert!(!format!("{mistakes:?}").contains("hunter2"), "{channels}: {mistakes:?}");
        let text = text.replace("channels:", "chanels:");
        assert!(!format!("{:?}", load(&text).1).contains("bot_token: hunter2"), "{channels}");
    }
    // Of the name of a channel without quotes nothing is left.
    let cut = wrong(&of("  slack:\n    bot_token: { env: CARGO_PKG_NAME }\n    channel: #incidents\n"));
    assert!(cut.contains("`channel` has no value") && cut.contains("the value in quotes"), "{cut}");
    // Other lines are shown.
    let shown = wrong(&of("  slack:\n    bot_token: { env: A }\n    channel: incidents\n"));
    assert!(shown.contains("channel: incidents"), "{shown}");
}

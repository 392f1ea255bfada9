//! What looks like a secret in what is written out for others to keep: `***` in its place.
//!
//! Goes by names (of keys, and of what stands before `=` or `:` in a command line) and by the forms of well-known keys. Hides
//! too much rather than too little; changes nothing else.

use quell_model::Json;

/// Parts of names whose values nobody writes down.
const NAMES: &[&str] = &[
    "password",
    "passwd",
    "secret",
    "token",
    "api_key",
    "apikey",
    "api-key",
    "authorization",
    "credential",
    "private_key",
];
/// How well-known keys begin: AWS, GitHub, Slack, GitLab, JSON Web Tokens.
const BEGINNINGS: &[&str] =
    &["AKIA", "ASIA", "ghp_", "gho_", "ghs_", "github_pat_", "xoxb-", "xoxp-", "xapp-", "glpat-", "eyJ"];
const HIDDEN: &str = "***";
/// A shorter word that begins like a key is none.
const SHORTEST: usize = 16;

/// The same value without what looks like a secret.
pub(super) fn hide(json: &Json) -> Json {
    match json {
        Json::String(text) => Json::String(text_without(text)),
        Json::Array(list) => hide_list(list),
        Json::Object(map) => {
            let pair = |(key, value): (&String, &Json)| {
                (key.clone(), if is_secret(key) { hide_whole(value) } else { hide(value) })
            };
            map.iter().map(pair).collect()
        }
        Json::Null | Json::Bool(_) | Json::Number(_) => json.clone(),
    }
}

/// Whatever is in it.
fn hide_whole(json: &Json) -> Json {
    match json {
        Json::String(_) | Json::Number(_) => Json::from(HIDDEN),
        Json::Array(list) => list.iter().map(hide_whole).collect(),
        Json::Object(map) => map.iter().map(|(key, value)| (key.clone(), hide_whole(value))).collect(),
        Json::Null | Json::Bool(_) => json.clone(),
    }
}

/// Arguments: what follows `--token` is one.
fn hide_list(list: &[Json]) -> Json {
    let mut all = Vec::with_capacity(list.len());
    let mut next = false;
    for item in list {
        all.push(if next && item.is_string() { Json::from(HIDDEN) } else { hide(item) });
        next = item.as_str().is_some_and(|text| text.starts_with('-') && !text.contains('=') && is_secret(text));
    }
    Json::Array(all)
}

fn is_secret(name: &str) -> bool {
    let name = name.to_lowercase();
    NAMES.iter().any(|part| name.contains(part))
}

fn text_without(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut next = false;
    for piece in text.split_inclusive(char::is_whitespace) {
        let word = piece.trim_end();
        let blank = &piece[word.len()..];
        let bare = word.trim_matches(['"', '\'', ',', ';', '(', ')']);
        let named = word.split_once(['=', ':']).filter(|(name, value)| is_secret(name) && !value.is_empty());
        let is_key = bare.len() >= SHORTEST && BEGINNINGS.iter().any(|start| bare.starts_with(start));
        if !word.is_empty() && next {
            out.push_str(HIDDEN);
        } else if let Some((name, _)) = named {
            out.push_str(&word[..=name.len()]);
            out.push_str(HIDDEN);
        } else if is_key {
            out.push_str(&word.replace(bare, HIDDEN));
        } else {
            out.push_str(word);
        }
        out.push_str(blank);
        let ends = word.ends_with(':') && is_secret(word);
        next = word.eq_ignore_ascii_case("bearer")
            || ends
            || (word.starts_with('-') && !word.contains('=') && is_secret(word));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::hide;
    use serde_json::json;

    #[test]
    fn secrets_are_hidden_and_the_rest_stays() {
        let event = json!({
            "args": ["curl", "--token", "t0ps3cret", "https://x/?a=b"], "uid": 1000, "api_token": "abc", "password": 12345,
            "command_line": "mysql --password=hunter2 -h db AWS_SECRET_ACCESS_KEY=abc/def curl -H Authorization: Bearer eyJhbGciOi.x.y",
            "env": { "PATH": "/bin", "GITHUB_TOKEN": "ghp_0123456789abcdef0123" }, "key": "AKIAIOSFODNN7EXAMPLE", "image": "/usr/bin/AKIA",
            "tokens": ["hunter2"], "credentials": { "value": "hunter2", "owned": true },
        });
        let shown = hide(&event);
        assert_eq!(
            shown,
            json!({
                "args": ["curl", "--token", "***", "https://x/?a=b"], "uid": 1000, "api_token": "***", "password": "***",
                "command_line": "mysql --password=*** -h db AWS_SECRET_ACCESS_KEY=*** curl -H Authorization: *** ***",
                "env": { "PATH": "/bin", "GITHUB_TOKEN": "***" }, "key": "***", "image": "/usr/bin/AKIA",
                "tokens": ["***"], "credentials": { "value": "***", "owned": true },
            })
        );
    }
}

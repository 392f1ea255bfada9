//! A request as it was decided when it was planned: what is sent, with secrets as their names.
//!
//! Owns the bounds of a request, and what a header may hold. Keeps true: no header has a line break or another control character in
//! it, and none is one that says where a request ends or whom it is for.

use super::super::wrong;
use super::input::Input;
use crate::text::one_line;
use quell_model::hosts::Method;
use quell_model::{ActionError, Json, SecretRef, Secrets};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::time::Duration;

/// Of a body, in bytes.
const BODY: usize = 1 << 20;
/// Of an address.
const URL: usize = 8 << 10;
/// Of one header.
const VALUE: usize = 8 << 10;
/// Headers of one request.
const HEADERS: usize = 50;
/// The longest that is waited for.
const LONGEST: Duration = Duration::from_secs(60);

/// Those that the request's own making decides, and those by which some servers take it for another one: by another method than its
/// row allows, or for another host.
const OWN: &[&str] = &[
    "connection",
    "content-length",
    "expect",
    "forwarded",
    "host",
    "keep-alive",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "user-agent",
    "x-forwarded-host",
    "x-http-method",
    "x-http-method-override",
    "x-method-override",
];
/// Those that let somebody in: what stands in `headers` is written down.
const SECRET: &[&str] = &["authorization", "cookie"];

/// See the module.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(super) struct Order {
    call: String,
    pub(super) method: Method,
    pub(super) url: String,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    headers: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    bearer: Option<SecretRef>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    secret_headers: BTreeMap<String, SecretRef>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    json: Option<Json>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    body: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    expect: Vec<u16>,
    timeout_ms: u64,
}

impl Order {
    /// What this input asks for, or what is wrong with it.
    pub(super) fn of(input: Input) -> Result<Self, ActionError> {
        let timeout = input.timeout.0;
        if timeout.is_zero() || timeout > LONGEST {
            return Err(wrong(format!("`timeout` is {timeout:?}"), "up to `60s`"));
        }
        if let Some(bad) = input.expect.iter().find(|status| !(200..=599).contains(*status)) {
            return Err(wrong(format!("`expect` has {bad}, which is no status of an answer"), "200 to 599"));
        }
        if input.url.len() > URL || input.url.chars().any(|c| c.is_whitespace() || c.is_control()) {
            let hint = "an address without spaces, up to 8 KiB; parts of others' making as `%20` and the like";
            return Err(wrong(format!("`url` is no address: `{}`", one_line(&input.url, 100)), hint));
        }
        let has_body = input.json.is_some() || input.body.is_some();
        if input.json.is_some() && input.body.is_some() {
            return Err(wrong("`json` and `body` at once", "one of them"));
        }
        if has_body && input.method.is_safe() {
            let why = format!("a {} has no body", input.method.as_str());
            return Err(wrong(why, "`method: POST`, or what is to be read in the address"));
        }
        let mut order = Self {
            call: super::SPEC.name.to_owned(),
            method: input.method,
            url: input.url,
            headers: checked(input.headers)?,
            bearer: input.bearer,
            secret_headers: checked(input.secret_headers)?,
            json: input.json,
            body: input.body,
            expect: input.expect,
            timeout_ms: u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX),
        };
        order.headers_are_right()?;
        let size = order.body().len();
        if size > BODY {
            return Err(wrong(format!("the body has {size} bytes"), "up to 1 MiB"));
        }
        if has_body && !order.headers.contains_key("content-type") {
            let kind = if order.json.is_some() { "application/json" } else { "text/plain; charset=utf-8" };
            order.headers.insert("content-type".to_owned(), kind.to_owned());
        }
        Ok(order)
    }

    fn headers_are_right(&self) -> Result<(), ActionError> {
        if let Some(name) = self.headers.keys().find(|name| SECRET.contains(&name.as_str())) {
            let hint = "`bearer`, or `secret_headers`: what stands in `headers` is written down";
            return Err(wrong(format!("`{name}` in `headers`"), hint));
        }
        if let Some((name, _)) = self.headers.iter().find(|(_, value)| !is_value(value)) {
            let why = format!("what `{name}` of `headers` holds is no header: it has a line break, or is too long");
            return Err(wrong(why, "one line of up to 8 KiB"));
        }
        let is_twice =
            |name: &String| self.headers.contains_key(name) || (name == "authorization" && self.bearer.is_some());
        match self.secret_headers.keys().find(|name| is_twice(name)) {
            Some(name) => Err(wrong(format!("the header `{name}` is given twice"), "once")),
            None if self.headers.len() + self.secret_headers.len() > HEADERS => {
                Err(wrong("too many headers", "up to 50"))
            }
            None => Ok(()),
        }
    }

    /// The secrets that it sends.
    pub(super) fn secrets(&self) -> impl Iterator<Item = &SecretRef> {
        self.bearer.iter().chain(self.secret_headers.values())
    }

    /// Its headers as they are sent.
    ///
    /// # Errors
    /// A secret that is not given, or that no header can hold.
    pub(super) fn headers(&self, secrets: &Secrets) -> Result<Vec<(String, String)>, ActionError> {
        let mut all: Vec<(String, String)> = self.headers.clone().into_iter().collect();
        let bearer = self.bearer.iter().map(|secret| ("authorization", "Bearer ", secret));
        let others = self.secret_headers.iter().map(|(name, secret)| (name.as_str(), "", secret));
        for (name, before, secret) in bearer.chain(others) {
            // A file ends its last line.
            let value = secrets.of(secret)?.expose().trim();
            if value.is_empty() || !is_value(value) {
                let why = format!("the secret `{}` is empty, or has what no header can hold", secret.secret);
                return Err(wrong(why, "one line of printable characters"));
            }
            all.push((name.to_owned(), format!("{before}{value}")));
        }
        Ok(all)
    }

    /// Its body as it is sent.
    pub(super) fn body(&self) -> Vec<u8> {
        match (&self.json, &self.body) {
            (Some(json), _) => json.to_string().into_bytes(),
            (None, Some(text)) => text.clone().into_bytes(),
            (None, None) => Vec::new(),
        }
    }

    pub(super) fn timeout(&self) -> Duration {
        Duration::from_millis(self.timeout_ms)
    }

    pub(super) fn is_expected(&self, status: u16) -> bool {
        match self.expect.is_empty() {
            true => (200..=299).contains(&status),
            false => self.expect.contains(&status),
        }
    }

    pub(super) fn first_expected(&self) -> u16 {
        self.expect.first().copied().unwrap_or(200)
    }
}

/// By their names in small letters; or which name is none.
fn checked<T>(headers: BTreeMap<String, T>) -> Result<BTreeMap<String, T>, ActionError> {
    let mut all = BTreeMap::new();
    for (name, value) in headers {
        let small = name.to_ascii_lowercase();
        if !is_name(&small) {
            let why = format!("`{}` is no name of a header", one_line(&name, 100));
            return Err(wrong(why, "letters, digits and `-`"));
        }
        if OWN.contains(&small.as_str()) {
            return Err(wrong(format!("the header `{small}` is quell's own"), "a request without it"));
        }
        if all.insert(small, value).is_some() {
            return Err(wrong(format!("the header `{name}` is given twice"), "once"));
        }
    }
    Ok(all)
}

/// A token (RFC 9110, 5.6.2).
fn is_name(name: &str) -> bool {
    let is_letter = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    !name.is_empty() && name.len() <= 100 && name.bytes().all(is_letter)
}

/// What a header can hold: nothing that ends it.
fn is_value(value: &str) -> bool {
    value.len() <= VALUE && !value.chars().any(|c| c.is_control() && c != '\t')
}

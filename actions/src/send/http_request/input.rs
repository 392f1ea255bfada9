//! What a request is given.

use crate::span::Span;
use quell_model::hosts::Method;
use quell_model::{Json, SecretRef};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::time::Duration;

/// Where, how and what.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Input {
    /// `https://HOST/…`, of a host that `http.allow` in quell.yaml names; `http://` only where its row is `private`.
    #[schemars(extend("x-quell-way" = "http"))]
    pub url: String,
    /// How.
    #[serde(default)]
    pub method: Method,
    /// Headers that everybody may read: names and values of one line.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    /// A secret that is sent as `Authorization: Bearer …`.
    #[serde(default)]
    pub bearer: Option<SecretRef>,
    /// Headers that are secrets, by their names.
    #[serde(default)]
    pub secret_headers: BTreeMap<String, SecretRef>,
    /// A body of JSON.
    #[serde(default)]
    pub json: Option<Json>,
    /// A body of text; not beside `json`.
    #[serde(default)]
    pub body: Option<String>,
    /// Statuses that are right, 200 to 299 if absent. Any other one is a failure.
    #[serde(default)]
    pub expect: Vec<u16>,
    /// From the connection to the end of the answer, up to 60s.
    #[serde(default = "timeout")]
    pub(super) timeout: Span,
}

fn timeout() -> Span {
    Span(Duration::from_secs(20))
}

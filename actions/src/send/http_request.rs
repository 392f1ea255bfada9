//! `http.request`: asks a host that quell.yaml allows.
//!
//! Never follows a redirection, keeps no cookie. Keeps true: only a host of `http.allow` is asked, as its row says; a secret goes only
//! to a host whose row names it, and stands nowhere but in what is sent; what may have been taken is not sent again, unless it only
//! reads.

mod input;
mod order;

pub use input::Input;

use super::ways::{self, Asks, Heard, InForce, Unheard, Wanted, Ways};
use super::{no_undo, order as first_call, to_json, wrong};
use crate::text::one_line;
use order::Order;
use quell_model::hosts::{self, AllowedHost};
use quell_model::{
    Action, ActionContext, ActionError, ActionSpec, Admitted, Guarantee, Json, Lane, Plan, Secrets, Truth, Want,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// What it is.
pub static SPEC: ActionSpec = ActionSpec {
    name: "http.request",
    summary: "asks a host that quell.yaml allows",
    input: || schemars::schema_for!(Input),
    output: || schemars::schema_for!(Output),
    lane: Lane::Notify,
    guarantee: Guarantee::AtMostOnce,
    undoable: false,
    asks_by_default: false,
    targets: &[],
    permissions: &[],
    predict: |input| predicted(input["expect"][0].as_u64().unwrap_or(200)),
};

/// Of an answer's body so many bytes are told.
const MOST: usize = 1 << 20;
/// So much of what a server says stands in an error, in characters.
const SAID: usize = 200;
/// Left of the attempt's time for telling how it ended.
const MARGIN: Duration = Duration::from_millis(200);
/// A header that lets its reader in elsewhere is not told.
const HIDDEN: &str = "set-cookie";

/// What was answered.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Output {
    /// The status; where it is only planned the first of `expect`, or 200.
    pub status: u16,
    /// Names in small letters. What would be kept as a cookie is not told.
    pub headers: BTreeMap<String, String>,
    /// The body as text, up to 1 MiB.
    pub body: String,
    /// The body as JSON; null where it is none.
    pub json: Json,
    /// The body was longer, broke off, or did not come in time.
    pub cut: bool,
}

/// The verb.
pub(crate) struct HttpRequest(pub(crate) Arc<Ways>);

fn predicted(status: u64) -> Json {
    json!({ "status": status, "headers": {}, "body": "", "json": null, "cut": false })
}

/// What quell.yaml has against a request, and what helps.
fn objections(order: &Order, asks: &dyn Asks, ways: &InForce) -> Result<Vec<(String, String)>, ActionError> {
    let no_address = || wrong("`url` is no address of http or https", "`https://HOST/…`, without a user or a password");
    let place = asks.place(&order.url).ok_or_else(no_address)?;
    let host = &place.host;
    let Some(row) = hosts::row(&ways.hosts, host, place.port, place.is_tls) else {
        let at = format!("{}:{}", one_line(host, SAID), place.port);
        let hint = "a row of this host, and of its port unless it is the usual one, under `http.allow` in quell.yaml";
        return Ok(vec![(format!("`{at}` is no host that may be asked"), hint.to_owned())]);
    };
    let shown = row.shown();
    let mut all = Vec::new();
    if !row.methods.contains(&order.method) {
        let why = format!("`{shown}` may not be asked by {}", order.method.as_str());
        all.push((why, "`methods` of its row under `http.allow`".to_owned()));
    }
    if !place.is_tls && !row.private {
        all.push((
            format!("`{shown}` is asked by https alone"),
            "`https://`; or `private: true` of its row".to_owned(),
        ));
    }
    if place.is_inner && !row.private {
        all.push((format!("`{shown}` is no address of the public net"), "`private: true` of its row".to_owned()));
    }
    for secret in order.secrets().filter(|secret| !row.secrets.contains(&secret.secret)) {
        let why = format!("the secret `{}` may not be sent to `{shown}`", secret.secret);
        all.push((why, "`secrets` of its row under `http.allow`".to_owned()));
    }
    Ok(all)
}

/// What a request has of its answer.
fn judged(order: &Order, row: &AllowedHost, heard: Heard, secrets: &Secrets) -> Result<Json, ActionError> {
    let (status, method) = (heard.status, order.method);
    let text = String::from_utf8_lossy(&heard.body);
    // Before it is shortened: of what is cut nobody knows any more that it was one.
    let text = if heard.cut { secrets.hide_in_cut(&text) } else { secrets.hide(&text) };
    if order.is_expected(status) {
        let json = if heard.cut { Json::Null } else { serde_json::from_slice(&heard.body).unwrap_or_default() };
        let mut headers = heard.headers;
        if let Some(value) = headers.get_mut(HIDDEN) {
            "***".clone_into(value);
        }
        return Ok(to_json(&Output { status, headers, body: text, json, cut: heard.cut }));
    }
    let more = one_line(&text, SAID);
    let why = format!("{} answered {status}{}{more}", row.shown(), if more.is_empty() { "" } else { ": " });
    match status {
        429 => Err(ActionError::Retry { after: heard.after, why }),
        // It is told when to come again: it was not taken.
        503 if heard.after.is_some() => Err(ActionError::Retry { after: heard.after, why }),
        // Neither becomes right by itself.
        501 | 505 => Err(wrong(why, "`method` and `url` as the host knows them")),
        408 | 500..=599 if method.is_idempotent() => Err(ActionError::Retry { after: heard.after, why }),
        408 | 500..=599 => Err(ActionError::Unknown { why }),
        300..=399 => Err(wrong(why, "no redirection is followed: give `url` as it is in the end")),
        401 | 403 => Err(wrong(why, "is the secret the one of this host, and sent as the host wants it?")),
        _ => Err(wrong(why, "`expect` says which statuses are right; without it 200 to 299")),
    }
}

#[async_trait::async_trait]
impl Action for HttpRequest {
    fn spec(&self) -> &'static ActionSpec {
        &SPEC
    }

    async fn plan(&self, json: &Json) -> Result<Plan, ActionError> {
        let order = Order::of(crate::process::input(json)?)?;
        let ways = self.0.now();
        let would_fail = match ways.http.ready(&ways::HTTP) {
            Ok(asks) => {
                let all = objections(&order, &**asks, &ways)?;
                all.into_iter().map(|(why, hint)| format!("{why}; hint: {hint}")).collect()
            }
            Err(not) => vec![not.planned()?],
        };
        let predicted = predicted(order.first_expected().into());
        Ok(Plan { calls: vec![to_json(&order)], predicted, would_fail, ..Plan::default() })
    }

    async fn run(&self, go: &Admitted, cx: &ActionContext) -> Result<Json, ActionError> {
        let order: Order = first_call(go.plan())?;
        let ways = self.0.now();
        let asks = ways.http.ready(&ways::HTTP)?;
        if let Some((why, hint)) = objections(&order, &**asks, &ways)?.into_iter().next() {
            return Err(wrong(why, &hint));
        }
        let place = asks.place(&order.url);
        let row = place.and_then(|place| hosts::row(&ways.hosts, &place.host, place.port, place.is_tls));
        let row = row.ok_or_else(|| ActionError::give_up("no host may be asked"))?;
        let left = cx.deadline.since(cx.clock.now()).saturating_sub(MARGIN);
        let wanted = Wanted {
            method: order.method,
            url: order.url.clone(),
            headers: order.headers(&cx.secrets)?,
            body: order.body(),
            private: row.private,
            within: order.timeout().min(left),
            most: MOST,
        };
        match asks.ask(wanted).await {
            Ok(heard) => judged(&order, row, heard, &cx.secrets),
            Err(Unheard::Refused(why)) => {
                let hint = "`private: true` of its row under `http.allow`, where that is meant";
                Err(wrong(why, hint))
            }
            Err(Unheard::Unsent(why)) => Err(ActionError::retry(why)),
            Err(Unheard::Unknown(why)) if order.method.is_safe() => Err(ActionError::retry(why)),
            Err(Unheard::Unknown(why)) => Err(ActionError::Unknown { why }),
        }
    }

    async fn verify(&self, _: &Plan, _: Want) -> Result<Truth, ActionError> {
        Ok(Truth::CannotAsk)
    }

    async fn undo(&self, _: &Admitted, _: &ActionContext) -> Result<Json, ActionError> {
        Err(no_undo())
    }
}

#[cfg(test)]
mod tests;

//! The effective configuration: every value, and where it came from.

use super::{Config, LogFormat, LogLevel, Origin, Permission, Tls, Token, WebhookSource, word};
use crate::load::SecretFrom;
use crate::load::units::{print_duration, print_rate, print_size};
use crate::store::print_age;
use quell_model::Json;
use quell_model::guard::{WarmUp, Within};
use quell_model::hosts::AllowedHost;
use serde::Serialize;
use serde_json::json;
use std::collections::BTreeSet;

/// What may be a secret.
const HIDDEN: &str = "***";

/// One value.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Shown {
    /// As the file would have it: `guard.breaker.images`.
    #[serde(rename = "id")]
    pub key: String,
    /// What holds.
    pub value: Json,
    /// `default`, `FILE:LINE` or the flag.
    pub from: String,
}

impl Config {
    /// Every value, in the order of the reference.
    #[must_use]
    pub fn show(&self) -> Vec<Shown> {
        let guard = &self.guard;
        let mut rows: Vec<(String, Json)> = vec![
            ("mode".into(), json!(self.mode)),
            ("data_dir".into(), json!(self.data_dir)),
            ("public_url".into(), json!(self.public_url)),
            ("playbooks.shipped".into(), json!(self.playbooks.shipped)),
            ("playbooks.dirs".into(), json!(self.playbooks.dirs)),
        ];
        let modes = self.playbooks.modes.iter();
        rows.extend(modes.map(|(name, mode)| (format!("playbooks.modes.{name}"), json!(mode))));
        rows.extend([
            ("rules.shipped".into(), json!(self.rules.shipped)),
            ("rules.dirs".into(), json!(self.rules.dirs)),
            ("rules.exceptions".into(), json!(self.rules.exceptions)),
            ("escalation".into(), json!(self.escalation_file())),
            ("incidents.min_level".into(), json!(self.incidents.min_level)),
            ("incidents.quiet".into(), json!(print_duration(self.incidents.quiet))),
            ("journal.inline".into(), json!(print_size(self.journal.inline))),
            ("journal.largest".into(), json!(print_size(self.journal.largest))),
            ("recorder.size".into(), json!(print_size(self.recorder.size))),
            ("recorder.age".into(), json!(print_duration(self.recorder.age))),
            ("retention.incidents".into(), json!(self.retention.incidents.map(print_age))),
            ("retention.evidence".into(), json!(self.retention.evidence.map(print_age))),
            ("sources.sensor.enabled".into(), json!(self.sources.sensor)),
            ("sources.files".into(), self.files()),
            ("sources.webhooks".into(), self.sources.webhooks.iter().map(webhook).collect()),
            ("kubernetes.enabled".into(), json!(self.kubernetes.enabled)),
            ("kubernetes.cluster".into(), json!(self.kubernetes.cluster)),
            ("kubernetes.kubeconfig".into(), json!(self.kubernetes.kubeconfig)),
            ("kubernetes.context".into(), json!(self.kubernetes.context)),
            ("kubernetes.node".into(), json!(self.kubernetes.node)),
            ("guard.protect.executables".into(), json!(guard.executables)),
            ("guard.protect.units".into(), json!(guard.units)),
            ("guard.protect.users".into(), json!(guard.users)),
            ("guard.protect.namespaces".into(), json!(guard.namespaces)),
            ("guard.protect.nodes".into(), json!(guard.nodes)),
        ]);
        for (section, limits) in [("guard.limits", &guard.limits), ("guard.limits.per_playbook", &guard.per_playbook)] {
            rows.extend(limits.0.iter().map(|(name, rate)| (format!("{section}.{name}"), json!(print_rate(*rate)))));
        }
        let floors = guard.min_ready.rows.iter();
        rows.extend(floors.map(|(name, share)| (format!("guard.limits.min_ready.{name}"), json!(share.to_string()))));
        rows.extend([
            ("guard.limits.nodes".into(), json!(guard.min_ready.nodes.map(|share| share.to_string()))),
            ("guard.breaker.images".into(), json!(guard.breaker.images)),
            ("guard.breaker.owners".into(), json!(guard.breaker.owners)),
            ("guard.breaker.principals".into(), json!(guard.breaker.principals)),
            ("guard.breaker.within".into(), json!(print_duration(guard.breaker.within))),
            ("guard.breaker.quiet".into(), json!(print_duration(guard.breaker.quiet))),
            ("guard.only_within".into(), guard.only_within.as_ref().map_or(Json::Null, within)),
            ("guard.warm_up".into(), guard.warm_up.as_ref().map_or(Json::Null, warm_up)),
            ("vars".into(), self.vars.clone()),
        ]);
        rows.extend(self.secrets.iter().map(|(name, from)| (format!("secrets.{name}"), place(from))));
        rows.push(("http.allow".into(), self.http.iter().map(allowed).collect()));
        rows.push(("access.socket.group".into(), json!(self.socket_group)));
        let words = |may: &BTreeSet<Permission>| may.iter().map(|one| one.as_str()).collect::<Vec<_>>();
        rows.extend(self.roles.all().map(|(role, may)| (format!("access.roles.{role}"), json!(words(may)))));
        rows.push(("access.listen".into(), self.listener()));
        rows.extend([
            ("log.format".into(), json!(word(LogFormat::WORDS, self.log.format))),
            ("log.level".into(), json!(word(LogLevel::WORDS, self.log.level))),
            ("telemetry.metrics".into(), json!(self.telemetry.metrics)),
            ("telemetry.otlp".into(), json!(self.telemetry.otlp)),
        ]);
        rows.into_iter().map(|(key, value)| Shown { from: self.origin(&key), key, value }).collect()
    }

    /// Without the sums: nobody needs them to see who may come.
    fn listener(&self) -> Json {
        let Some(listen) = &self.listen else { return Json::Null };
        let token = |token: &Token| json!({ "name": token.name, "role": token.role, "person": token.person });
        let tokens: Vec<Json> = listen.tokens.iter().map(token).collect();
        json!({ "address": listen.address.to_string(), "tls": tls(listen.tls.as_ref()), "tokens": tokens })
    }

    fn files(&self) -> Json {
        let each = self.sources.files.iter().map(|file| {
            json!({
                "format": file.format.map_or("auto", |format| format.as_str()),
                "path": file.path, "trusted": file.trusted, "from": file.from.as_str(),
            })
        });
        each.collect()
    }

    fn origin(&self, key: &str) -> String {
        match self.origins.get(key) {
            None => "default".to_owned(),
            Some(Origin::Flag(flag)) => (*flag).to_owned(),
            Some(Origin::Line(span, _)) => {
                let file = self.file.as_ref().map(|file| file.display().to_string()).unwrap_or_default();
                format!("{file}:{}", span.line)
            }
        }
    }
}

/// Where a secret is. What it is nobody is shown: where there is no such place it may be the value itself.
fn place(from: &SecretFrom) -> Json {
    let shown = if from.is_a_place() { None } else { Some(HIDDEN) };
    match from {
        SecretFrom::Env(name) => json!({ "env": shown.unwrap_or(name) }),
        SecretFrom::File(path) => json!({ "file": shown.map_or_else(|| json!(path), |shown| json!(shown)) }),
        SecretFrom::Fixed(_) | SecretFrom::Nowhere(_) => Json::Null,
    }
}

fn tls(tls: Option<&Tls>) -> Json {
    tls.map_or(Json::Null, |tls| json!({ "certificate": tls.certificate, "key": tls.key }))
}

fn webhook(webhook: &WebhookSource) -> Json {
    let token = webhook.token.as_ref().map(|secret| json!({ "secret": secret }));
    json!({
        "name": webhook.name, "format": webhook.format.as_str(), "address": webhook.address.to_string(),
        "tls": tls(webhook.tls.as_ref()), "token": token, "trusted": webhook.trusted,
    })
}

fn allowed(row: &AllowedHost) -> Json {
    let methods: Vec<&str> = row.methods.iter().map(|method| method.as_str()).collect();
    json!({ "host": row.shown(), "secrets": row.secrets, "private": row.private, "methods": methods })
}

fn within(within: &Within) -> Json {
    let mut shown = serde_json::Map::new();
    shown.extend(within.cgroup.as_ref().map(|path| ("cgroup".to_owned(), json!(path))));
    shown.extend(within.namespace.as_ref().map(|name| ("namespace".to_owned(), json!(name))));
    Json::Object(shown)
}

fn warm_up(warm_up: &WarmUp) -> Json {
    let mut shown = serde_json::Map::new();
    shown.extend(warm_up.runs.map(|runs| ("runs".to_owned(), json!(runs))));
    shown.extend(warm_up.lasts.map(|lasts| ("for".to_owned(), json!(print_duration(lasts)))));
    Json::Object(shown)
}

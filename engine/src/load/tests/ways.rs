//! By which ways steps send, and which hosts they ask: what an installation lacks is a warning.

use super::{kill_output, print, spec};
use crate::escalation::Escalation;
use crate::load::config::config;
use crate::load::escalation::escalation;
use crate::load::{Known, Roles, playbook};
use quell_model::{ActionSpec, Json, Lane, SecretRef};
use schemars::JsonSchema;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::Path;

#[derive(Deserialize, JsonSchema)]
#[allow(dead_code, reason = "only its schema is used")]
struct SendInput {
    #[serde(default)]
    #[schemars(extend("x-quell-way" = "slack"))]
    channel: Option<String>,
    #[serde(default)]
    #[schemars(extend("x-quell-way" = "email"))]
    to: Vec<String>,
    #[serde(default)]
    #[schemars(extend("x-quell-way" = "webhook"))]
    webhook: String,
}

#[derive(Deserialize, JsonSchema)]
#[allow(dead_code, reason = "only its schema is used")]
struct AskInput {
    #[schemars(extend("x-quell-way" = "http"))]
    url: String,
    #[serde(default)]
    method: String,
    #[serde(default)]
    bearer: Option<SecretRef>,
    #[serde(default)]
    secret_headers: BTreeMap<String, SecretRef>,
    #[serde(default)]
    json: Json,
}

static SEND: ActionSpec =
    ActionSpec { targets: &[], ..spec("all.send", Lane::Notify, || schemars::schema_for!(SendInput), kill_output) };
static ASK: ActionSpec =
    ActionSpec { targets: &[], ..spec("http.ask", Lane::Notify, || schemars::schema_for!(AskInput), kill_output) };

const CONFIG: &str = "secrets: { token: { env: T }, other: { env: O } }\nhttp:\n  allow:\n    \
    - { host: tickets.example.org, secrets: [token] }\n    - { host: inner, private: true, methods: [POST] }\n";

fn said(who: &Escalation, steps: &str) -> String {
    let config = config(Path::new("/q.yaml"), CONFIG).0.unwrap();
    let known = Known {
        actions: vec![&SEND, &ASK],
        people: Some(&who.people),
        channels: Some(&who.channels),
        hosts: Some(&config.http),
        secrets: Some(&config.secrets),
        ..Known::default()
    };
    let text = format!("playbook: p\non: {{ manual: true }}\nsteps:\n{steps}");
    print(&playbook(Path::new("p.yaml"), &text, &known).1)
}

#[test]
fn what_is_not_configured_is_a_warning() {
    let steps = "  a: { action: all.send, with: { to: [ana, bo, an, soc@example.org, \"${{ event.actor }}\"], webhook: phone } }\n  \
        b: { action: all.send, with: { webhook: fone } }\n  c: { action: all.send, with: { webhook: \"${{ vars.x }}\" } }\n";
    let one = "people: { ana: {}, bo: { identities: { email: bo@example.org } } }\nchannels: { webhooks: { phone: { template: ntfy, url: https://ntfy.sh/x } } }\n";
    let read = |text: &str| escalation(Path::new("e.yaml"), text, &Roles::default()).0.unwrap();
    insta::assert_snapshot!(said(&read(one), steps));
}

#[test]
fn a_host_that_is_not_allowed_is_a_warning_where_it_is_written_out() {
    let steps = r#"  fine: { action: http.ask, with: { url: "https://tickets.example.org/${{ run.id }}", bearer: "${{ secrets.token }}" } }
  inner: { action: http.ask, with: { url: "http://inner/x", method: POST } }
  silent: { action: http.ask, with: { url: "http://inner/x" } }
  unknown: { action: http.ask, with: { url: "https://${{ vars.host }}/x" } }
  half: { action: http.ask, with: { url: "https://tickets.${{ vars.host }}/x" } }
  near: { action: http.ask, with: { url: "https://ticket.example.org/x" } }
  port: { action: http.ask, with: { url: "https://tickets.example.org:8443/x" } }
  plain: { action: http.ask, with: { url: "http://tickets.example.org/x", method: POST } }
  secret: { action: http.ask, with: { url: "https://tickets.example.org/x", bearer: "${{ secrets.other }}", secret_headers: { a: "${{ secrets.other }}" } } }
"#;
    insta::assert_snapshot!(said(&Escalation::default(), steps));
}

static LABEL: ActionSpec = ActionSpec {
    targets: &[],
    undoable: true,
    asks_by_default: false,
    ..spec("kubernetes.label", Lane::Cloud, || schemars::schema_for!(SendInput), kill_output)
};

#[test]
fn what_acts_in_a_cluster_where_there_is_none_is_a_warning_unless_it_asks_for_a_pod_first() {
    let said = |no_cluster: Option<&str>, file: &str, condition: &str| {
        let known = Known { actions: vec![&LABEL], no_cluster, ..Known::default() };
        let (on, condition) = condition.split_once("on: ").map_or(("", condition), |(_, on)| (on, ""));
        let text = format!(
            "playbook: p\non: {{ detections: {{ level: high }}{on} }}\nsteps:\n  a:\n    action: kubernetes.label\n    with: {{}}\n{condition}"
        );
        print(&playbook(Path::new(file), &text, &known).1)
    };
    let (none, asks) = (Some("quell runs in no pod"), "    if: \"${{ event.pod != () }}\"\n");
    let told = said(none, "p.yaml", "");
    assert!(told.contains("`kubernetes.label` would fail here: there is no cluster (quell runs in no pod)"), "{told}");
    assert!(told.contains("`kubernetes: { kubeconfig: FILE }` in quell.yaml"), "{told}");
    let on_asks = "on: , if: \"${{ event.pod != () }}\"";
    let others =
        [(None, "p.yaml", ""), (none, "p.yaml", asks), (none, "p.yaml", on_asks), (none, "shipped/p.yaml", "")];
    for (no_cluster, file, condition) in others {
        let told = said(no_cluster, file, condition);
        assert!(!told.contains("cluster ("), "{file}: {told}");
    }
}

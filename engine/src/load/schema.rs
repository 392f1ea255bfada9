//! JSON Schemas of playbooks, of quell.yaml and of escalation.yaml, from which editors complete.
//!
//! Owns their text; that of escalation.yaml has a file of its own. A test holds them against the keys that the readers take. They say less than the check does: an
//! editor cannot compile an expression.

mod escalation;

pub use escalation::escalation_schema;

use super::config::{LogFormat, LogLevel, Permission};
use super::question::WAYS;
use super::{step, trigger};
use crate::adapt::Format;
use crate::source::Begin;
use quell_model::hosts::Method;
use quell_model::{ActionSpec, Json};
use serde_json::json;

const DRAFT: &str = "https://json-schema.org/draft/2020-12/schema";

/// The schema of a playbook file, with the inputs of these actions.
#[must_use]
pub fn playbook_schema(actions: &[&ActionSpec]) -> Json {
    let mut definitions = serde_json::Map::new();
    let mut inputs = Vec::new();
    for spec in actions {
        let mut input = (spec.input)().to_value();
        if let Some(Json::Object(own)) = input.as_object_mut().and_then(|input| input.remove("$defs")) {
            for (name, mut part) in own {
                open(&mut part, spec.name);
                definitions.insert(format!("{}.{name}", spec.name), part);
            }
        }
        if let Some(input) = input.as_object_mut() {
            input.remove("$schema");
            input.remove("title");
        }
        open(&mut input, spec.name);
        inputs.push(json!({
            "if": { "required": ["action"], "properties": { "action": { "const": spec.name } } },
            "then": { "properties": { "with": input } },
        }));
    }
    let names: Vec<Json> =
        actions.iter().map(|spec| json!({ "const": spec.name, "description": spec.summary })).collect();
    let action = if names.is_empty() { json!({ "type": "string" }) } else { json!({ "oneOf": names }) };
    definitions.insert("condition".into(), condition());
    definitions.insert("expression".into(), expression());
    definitions.insert("duration".into(), duration());
    definitions.insert("mode".into(), one_of(&words(step::MODES), "How far it may go; the strictest holds."));
    definitions.insert("step".into(), step(&action, &inputs));
    json!({
        "$schema": DRAFT,
        "title": "quell playbook",
        "type": "object",
        "required": ["playbook", "steps"],
        "additionalProperties": false,
        "properties": {
            "playbook": { "type": "string", "pattern": "^[a-z0-9-]+$", "description": "Its name, unique among what is loaded." },
            "description": { "type": "string", "description": "What it does, in a sentence." },
            "on": on(),
            "mode": { "$ref": "#/$defs/mode" },
            "limits": object(json!({
                "runs": rate("So many runs in a time: `20/h`. Past it a run asks before each act."),
                "targets": { "type": ["string", "integer"], "description": "So many targets in one run: `5/run`." },
            })),
            "inputs": {
                "type": "object",
                "description": "What a manual start may give.",
                "additionalProperties": object(json!({
                    "type": one_of(&["string", "integer", "boolean", "list", "map"], "Its type."),
                    "default": { "description": "Without one it must be given." },
                })),
            },
            "steps": {
                "type": "object",
                "description": "The DAG: a step starts when all its `needs` have ended.",
                "minProperties": 1,
                "propertyNames": { "pattern": "^[a-z][a-z0-9_]*$" },
                "additionalProperties": { "$ref": "#/$defs/step" },
            },
            "outputs": { "type": "object", "description": "What a finished run gives." },
        },
        "$defs": definitions,
    })
}

fn on() -> Json {
    let moment = json!({ "enum": words(trigger::MOMENTS) });
    let mut on = object(json!({
        "detections": object(filter()),
        "if": { "$ref": "#/$defs/condition", "description": "Must be true." },
        "run_per": { "$ref": "#/$defs/expression", "description": "One open run for each value; `${{ event.subject }}` if absent." },
        "max_age": { "$ref": "#/$defs/duration", "description": "Older detections are asked about, and older moments of a schedule start nothing; 15m if absent." },
        "schedule": object(json!({
            "cron": { "type": "string", "description": "Minute, hour, day of the month, month, day of the week: `0 6 * * mon`." },
            "time_zone": { "type": "string", "description": "As the IANA names it: `Europe/Berlin`; `UTC` if absent." },
        })),
        "incident": {
            "anyOf": [moment.clone(), { "type": "array", "items": moment, "minItems": 1, "uniqueItems": true }],
            "description": "What an incident does: one run for each time that it does it.",
        },
        "manual": { "const": true, "description": "Started by hand." },
    }));
    on["description"] = json!("What starts it. (Some YAML tools read a bare `on` as true; quell does not.)");
    on
}

fn filter() -> Json {
    json!({
        "rules": some("Rules by name, id or file stem."),
        "tags": some("Tags as rules write them: `attack.t1059.004`."),
        "level": one_of(&words(trigger::LEVELS), "The least level."),
    })
}

fn wait() -> Json {
    let mut until = filter();
    until["if"] = json!({ "$ref": "#/$defs/condition", "description": "Must be true of it; `seen` is the detection." });
    let mut detection = object(json!({
        "until": object(until),
        "timeout": { "$ref": "#/$defs/duration", "description": "How long at most; then the step has failed. 15m if absent." },
        "anywhere": { "type": "boolean", "description": "Also a detection about another entity than the run is." },
    }));
    detection["required"] = json!(["until"]);
    detection["description"] = json!("A detection; `steps.<id>.seen` is it, with its `event`.");
    json!({ "anyOf": [{ "$ref": "#/$defs/duration" }, detection], "description": "So long, or until a detection comes that fits." })
}

fn step(action: &Json, inputs: &[Json]) -> Json {
    let mut step = object(json!({
        "action": action,
        "script": { "type": "string", "description": "Rhai that returns a map." },
        "tell": { "type": "string", "description": "A line into the incident's timeline, and into the messages that people have of it." },
        "escalate": escalate(),
        "ask": ask(),
        "wait": wait(),
        "playbook": { "type": "string", "description": "Another playbook, which runs as a run of its own." },
        "with": { "type": "object", "description": "The input of the action, or the inputs of the playbook." },
        "detach": { "type": "boolean", "description": "Nothing waits for the playbook's end." },
        "needs": texts("Steps that must have ended before."),
        "if": { "$ref": "#/$defs/condition", "description": "Must be true, else the step is skipped." },
        "when": one_of(&["success", "failure", "always"], "Whether it runs after needs that ended badly."),
        "for_each": { "anyOf": [{ "$ref": "#/$defs/expression" }, { "type": "array" }], "description": "Once for each item." },
        "max_parallel": { "type": "integer", "minimum": 1, "description": "Items at once; 4 if absent." },
        "errors": one_of(&["collect", "stop"], "Whether items go on after one failed."),
        "timeout": { "$ref": "#/$defs/duration", "description": "For one attempt; 30s if absent." },
        "deadline": { "$ref": "#/$defs/duration", "description": "For the step with its retries." },
        "retry": object(json!({
            "attempts": { "type": "integer", "minimum": 1, "maximum": super::step::ATTEMPTS, "description": "In all." },
            "backoff": { "type": "string", "pattern": r"^\S+\.\.\S+$", "description": "`200ms..2s`: exponential, with jitter." },
        })),
        "on_failure": one_of(&["block", "continue", "halt", "undo"], "What a bad end does."),
        "mode": { "$ref": "#/$defs/mode" },
        "lease": object(json!({
            "for": { "$ref": "#/$defs/duration", "description": "How long what it contains is meant to stand." },
            "at_end": one_of(&["ask", "undo", "keep"], "What happens then."),
        })),
        "approve": question(&["deny", "run"], "Ask a person before it acts."),
        "confirm": question(&["keep", "undo"], "Act, and ask a person afterwards whether it is to stand."),
    }));
    step["oneOf"] = step::KINDS.iter().map(|kind| json!({ "required": [kind] })).collect();
    step["allOf"] = json!(inputs);
    step
}

fn escalate() -> Json {
    let mut keys = object(json!({
        "policy": { "type": "string", "description": "A policy of escalation.yaml; the one that it goes by if absent." },
        "step": { "type": "integer", "minimum": 1, "description": "Up to this step; the first if absent." },
    }));
    keys["minProperties"] = json!(1);
    json!({ "anyOf": [{ "type": "string" }, keys], "description": "Hands the incident on: moves its one ladder to a policy, or up to a step of it." })
}

fn question(otherwise: &[&str], about: &str) -> Json {
    let mut question = object(json!({
        "by": { "type": "string", "description": "The approvers of escalation.yaml who may say so." },
        "within": { "$ref": "#/$defs/duration", "description": "How long is waited; 15m if absent." },
        "otherwise": one_of(otherwise, "What holds when nobody answers; the first if absent."),
    }));
    question["description"] = json!(about);
    question
}

fn ask() -> Json {
    let mut ask = object(json!({
        "question": { "type": "string", "description": "What is asked." },
        "person": { "$ref": "#/$defs/expression", "description": "Who is asked, like `${{ person_of(event.actor) }}`." },
        "by": { "type": "string", "description": "The approvers of escalation.yaml who may answer." },
        "choices": texts("What can be answered."),
        "within": { "$ref": "#/$defs/duration", "description": "How long is waited; 15m if absent." },
        "otherwise": { "type": "string", "description": "What holds when nobody answers: one of the choices." },
        "remember": { "$ref": "#/$defs/duration", "description": "For so long an answer also answers the same question to the same person." },
        "not_via": { "type": "array", "items": one_of(WAYS, "A way."), "description": "Ways by which no answer counts." },
    }));
    ask["required"] = json!(["question", "choices", "otherwise"]);
    ask["description"] = json!("A question to a person; `steps.<id>.answer` is what they said.");
    ask
}

/// The schema of quell.yaml.
#[must_use]
pub fn config_schema() -> Json {
    let mut formats: Vec<&str> = Format::ALL.iter().map(|format| format.as_str()).collect();
    formats.push("auto");
    let flag = |text: &str| json!({ "type": "boolean", "description": text });
    let mut all = object(json!({
        "mode": { "$ref": "#/$defs/mode", "description": "The ceiling over everything." },
        "data_dir": { "type": "string", "description": "Where the journal, the evidence and the socket are." },
        "public_url": { "type": "string", "format": "uri", "description": "What links in messages begin with." },
        "playbooks": object(json!({
            "shipped": flag("Those in the binary."),
            "dirs": texts("Folders of others."),
            "modes": { "type": "object", "additionalProperties": { "$ref": "#/$defs/mode" } },
        })),
        "rules": object(json!({
            "shipped": flag("Those in the binary."),
            "dirs": texts("Folders or files of others."),
            "exceptions": texts("Folders or files of exceptions."),
        })),
        "escalation": { "type": "string", "description": "Where people and approvers are; escalation.yaml beside this file if absent." },
        "incidents": object(json!({
            "min_level": one_of(&words(trigger::LEVELS), "The least level that opens an incident without a playbook."),
            "quiet": { "$ref": "#/$defs/duration", "description": "After this long the next detection opens a new one." },
        })),
        "journal": object(json!({
            "inline": { "type": "string", "pattern": r"^\d+ ?(KiB|MiB)$", "description": "What a step is given, plans or gives and has more bytes lies beside its record; 1KiB to 1MiB." },
            "largest": { "type": "string", "pattern": r"^\d+ ?(KiB|MiB)$", "description": "What has more bytes is not kept; 1MiB to 14MiB." },
        })),
        "recorder": object(json!({
            "size": { "type": "string", "pattern": r"^\d+ ?(KiB|MiB|GiB|TiB)$", "description": "The flight recorder's ring takes at most this; 16MiB at least." },
            "age": { "$ref": "#/$defs/duration" },
        })),
        "retention": object(json!({
            "incidents": { "$ref": "#/$defs/duration", "description": "Runs and incidents that have been over for longer go, while quell runs; 1d at least. They stay if absent." },
            "evidence": { "$ref": "#/$defs/duration", "description": "Evidence that was kept longer ago goes, also before its run; 1d at least, and no more than `incidents`, as which it counts if absent." },
        })),
        "sources": object(json!({
            "sensor": object(json!({ "enabled": flag("The eBPF sensor.") })),
            "files": { "type": "array", "items": object(json!({
                "format": one_of(&formats, "How it is written."),
                "path": { "type": "string", "description": "A file or a folder." },
                "trusted": flag("Only the system can write it. What is not trusted never acts."),
                "from": one_of(&words(&Begin::WORDS), "Where it begins when it is followed for the first time: with what it holds, about which playbooks only plan, or with what is appended from then on; start if absent."),
            })) },
            "webhooks": { "type": "array", "items": webhook() },
        })),
        "kubernetes": object(json!({
            "enabled": flag("The cluster is looked for: as `kubeconfig` says, else as the pod says that quell runs in."),
            "cluster": { "type": "string", "pattern": "^[A-Za-z0-9._-]+$", "description": "What targets and messages call it; kubernetes if absent." },
            "kubeconfig": { "type": "string", "description": "A kubeconfig. That of a person is never taken unasked." },
            "context": { "type": "string", "description": "A context of the kubeconfig; its current one if absent." },
            "node": { "type": "string", "pattern": "^[A-Za-z0-9._-]+$", "description": "Which of its nodes this machine is; found out if absent." },
        })),
        "guard": object(json!({
            "protect": object(json!({
                "executables": texts("Executables that are never touched."),
                "units": texts("systemd units that are never touched; a trailing `*` stands for anything."),
                "users": { "type": "array", "items": { "type": ["string", "integer"] } },
                "namespaces": texts("Namespaces of a cluster of which nothing is touched, besides those built in; `!kube-public` takes one of these out, a trailing `*` stands for anything."),
                "nodes": texts("Nodes of a cluster that are never touched; a trailing `*` stands for anything."),
            })),
            "limits": {
                "type": "object",
                "properties": {
                    "per_playbook": {
                        "type": "object",
                        "description": "The same of each playbook.",
                        "additionalProperties": rate("So many of an action in a time."),
                    },
                    "min_ready": {
                        "anyOf": [share(), { "type": "object", "additionalProperties": share() }],
                        "description": "How many of an owner's replicas stay ready, rounded up; of every action, or in rows by action and `*`. 50% if absent.",
                    },
                    "nodes": {
                        "anyOf": [share()],
                        "description": "How many nodes of a cluster may be out of use at a time, rounded down, and one at least; 10% if absent.",
                    },
                },
                "additionalProperties": rate(
                    "So many of an action in a time; `*` of each without a row of its own, `all` of all together.",
                ),
            },
            "breaker": object(json!({
                "images": { "type": "integer", "minimum": 1, "description": "More different images than this open it …" },
                "owners": { "type": "integer", "minimum": 1, "description": "… or owners of pods …" },
                "principals": { "type": "integer", "minimum": 1, "description": "… or principals of clouds and clusters." },
                "within": { "$ref": "#/$defs/duration" },
                "quiet": { "$ref": "#/$defs/duration" },
            })),
            "warm_up": object(json!({
                "runs": { "type": "integer", "minimum": 1, "description": "A new playbook asks first until it has run in so many places …" },
                "for": { "$ref": "#/$defs/duration" },
            })),
            "only_within": object(json!({
                "cgroup": { "type": "string", "pattern": "^/", "description": "Of processes, files and cgroups nothing else is touched." },
                "namespace": { "type": "string", "pattern": "^[A-Za-z0-9._-]+$", "description": "Of a cluster, and of the processes and cgroups of its pods, nothing else is touched." },
            })),
        })),
        "vars": { "type": "object", "description": "`vars` in expressions." },
        "secrets": secrets(),
        "http": object(json!({ "allow": {
            "type": "array",
            "description": "Hosts that playbooks may ask with `http.request`, and no others.",
            "items": allowed(),
        } })),
        "access": object(json!({
            "socket": object(json!({ "group": { "type": "string", "description": "The group that may use the socket." } })),
            "roles": {
                "type": "object",
                "description": "What each role may do, besides reading; own ones beside viewer, responder, approver and admin.",
                "additionalProperties": { "type": "array", "items": one_of(&words(Permission::WORDS), "A permission.") },
            },
            "listen": listen(),
        })),
        "log": object(json!({
            "format": one_of(&words(LogFormat::WORDS), "auto: for people on a terminal, JSON elsewhere."),
            "level": one_of(&words(LogLevel::WORDS), "What is logged."),
        })),
        "telemetry": object(json!({
            "metrics": flag("GET /metrics answers."),
            "otlp": { "type": ["string", "null"], "pattern": "^http://", "description": "The collector that runs are sent to as traces." },
        })),
    }));
    all["$schema"] = json!(DRAFT);
    all["title"] = json!("quell.yaml");
    all["$defs"] = json!({ "mode": one_of(&words(step::MODES), "How far anything may go."), "duration": duration() });
    all
}

fn share() -> Json {
    json!({ "anyOf": [{ "type": "string", "pattern": "^(100|[0-9]{1,2})%$" }, { "type": "integer", "minimum": 0 }] })
}

fn secrets() -> Json {
    json!({
        "type": "object",
        "description": "Where the values of `secrets` in playbooks are; never a value.",
        "propertyNames": { "pattern": "^[a-z][a-z0-9_]*$" },
        "additionalProperties": { "oneOf": secret_places() },
    })
}

/// A host that may be asked.
fn allowed() -> Json {
    let methods = one_of(&words(Method::WORDS), "A method.");
    let mut row = object(json!({
        "host": {
            "type": "string", "pattern": r"^(\*\.)?[A-Za-z0-9_.-]+(:\d+)?$|^[0-9A-Fa-f:.]+$|^\[[0-9A-Fa-f:.]+\](:\d+)?$",
            "description": "`tickets.example.org`, `*.example.org` for all below it, or an IP address; with `:PORT` unless it is 443, or 80 without TLS.",
        },
        "secrets": texts("Names of `secrets` that may be sent there."),
        "private": { "type": "boolean", "description": "It may be an address that is not of the public net, and be asked without TLS." },
        "methods": { "type": "array", "items": methods, "description": "How it may be asked; GET and HEAD if absent." },
    }));
    row["required"] = json!(["host"]);
    row
}

/// Where a secret's value can be.
fn secret_places() -> [Json; 2] {
    let places = [
        (
            "env",
            json!({ "type": "string", "pattern": "^[A-Za-z_][A-Za-z0-9_]*$", "description": "An environment variable." }),
        ),
        ("file", json!({ "type": "string", "description": "A file that its owner alone can read." })),
    ];
    let place = |(key, value): (&str, Json)| {
        let mut place = object(Json::Object([(key.to_owned(), value)].into_iter().collect()));
        place["required"] = json!([key]);
        place
    };
    places.map(place)
}

/// What a listener proves itself with.
fn tls() -> Json {
    let file = |text: &str| json!({ "type": "string", "description": text });
    let mut tls = object(json!({
        "certificate": file("The chain in PEM."),
        "key": file("Its private key in PEM, that others cannot read."),
    }));
    tls["required"] = json!(["certificate", "key"]);
    tls
}

/// Where others bring events.
fn webhook() -> Json {
    let mut token = object(json!({ "secret": { "type": "string", "description": "A name in `secrets`." } }));
    token["required"] = json!(["secret"]);
    token["description"] = json!(
        "The token that whoever comes has to have; without one anybody may come, and nothing that they bring ever acts."
    );
    let mut webhook = object(json!({
        "name": { "type": "string", "pattern": "^[A-Za-z0-9_-]+$", "description": "Its events are of `webhook:NAME`." },
        "format": one_of(&["kubernetes-audit"], "How what is brought is written."),
        "address": { "type": "string", "description": "An IP address and a port: 127.0.0.1:7443." },
        "tls": tls(),
        "token": token,
        "trusted": { "type": "boolean", "description": "Only the system has the token. What is not trusted never acts." },
    }));
    webhook["required"] = json!(["name", "format", "address"]);
    webhook
}

fn listen() -> Json {
    let mut token = object(json!({
        "name": { "type": "string", "pattern": "^[A-Za-z0-9_-]+$", "description": "The journal has `token NAME`." },
        "role": { "type": "string", "description": "What it may do: one of the roles." },
        "sha256": { "type": "string", "pattern": "^[0-9a-fA-F]{64}$", "description": "The sum of the token, never the token." },
        "person": { "type": "string", "description": "The person of escalation.yaml that it speaks for." },
    }));
    token["required"] = json!(["name", "role", "sha256"]);
    let mut listen = object(json!({
        "address": { "type": "string", "description": "An IP address and a port: 127.0.0.1:7071." },
        "tls": tls(),
        "tokens": { "type": "array", "minItems": 1, "items": token },
    }));
    listen["required"] = json!(["address"]);
    listen["description"] = json!("The API on TCP, too: with TLS, or on the loopback.");
    listen
}

/// Lets an expression stand wherever a value may, and points references at the renamed definitions.
fn open(schema: &mut Json, action: &str) {
    match schema {
        Json::Object(map) => {
            if let Some(Json::String(link)) = map.get_mut("$ref")
                && let Some(name) = link.strip_prefix("#/$defs/")
            {
                *link = format!("#/$defs/{action}.{name}");
            }
            for (key, part) in map.iter_mut() {
                open(part, action);
                if key == "properties" {
                    for property in part.as_object_mut().into_iter().flat_map(serde_json::Map::values_mut) {
                        *property = json!({ "anyOf": [property.take(), { "$ref": "#/$defs/expression" }] });
                    }
                }
            }
        }
        Json::Array(list) => list.iter_mut().for_each(|part| open(part, action)),
        _ => {}
    }
}

fn words<T>(words: &[(&'static str, T)]) -> Vec<&'static str> {
    words.iter().map(|(word, _)| *word).collect()
}

fn object(properties: Json) -> Json {
    json!({ "type": "object", "additionalProperties": false, "properties": properties })
}

fn one_of(words: &[&str], description: &str) -> Json {
    json!({ "enum": words, "description": description })
}

fn texts(description: &str) -> Json {
    json!({ "type": "array", "items": { "type": "string" }, "description": description })
}

fn some(description: &str) -> Json {
    let mut texts = texts(description);
    texts["minItems"] = json!(1);
    texts
}

fn rate(description: &str) -> Json {
    json!({ "type": "string", "pattern": r"^\d+/\w+$", "description": description })
}

fn duration() -> Json {
    json!({ "type": "string", "pattern": r"^(\d+(ms|s|m|h|d|w))+$", "description": "`200ms`, `30s`, `15m`, `1h30m`, `1d`." })
}

fn condition() -> Json {
    json!({ "anyOf": [{ "$ref": "#/$defs/expression" }, { "type": "boolean" }] })
}

fn expression() -> Json {
    json!({ "type": "string", "pattern": r"\$\{\{" })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::{config, playbook};

    fn keys(schema: &Json) -> Vec<&str> {
        schema["properties"].as_object().map(|map| map.keys().map(String::as_str).collect()).unwrap_or_default()
    }

    #[test]
    fn the_schemas_know_the_keys_that_the_readers_take() {
        let playbook = playbook_schema(&[]);
        assert_eq!(keys(&playbook), playbook::KEYS);
        assert_eq!(keys(&playbook["properties"]["on"]), trigger::KEYS);
        assert_eq!(keys(&playbook["properties"]["on"]["properties"]["schedule"]), trigger::SCHEDULE);
        assert_eq!(keys(&playbook["$defs"]["step"]), step::KEYS);
        let escalate = &playbook["$defs"]["step"]["properties"]["escalate"]["anyOf"][1];
        assert_eq!(keys(escalate), crate::load::escalate::KEYS);
        let quell = config_schema();
        assert_eq!(keys(&quell), config::KEYS);
        assert_eq!(keys(&quell["properties"]["access"]), config::ACCESS);
        let webhook = &quell["properties"]["sources"]["properties"]["webhooks"]["items"];
        assert_eq!(keys(webhook), config::WEBHOOK);
        assert_eq!(keys(&quell["properties"]["http"]["properties"]["allow"]["items"]), config::ALLOW);
        assert_eq!(keys(&quell["properties"]["kubernetes"]), config::KUBERNETES);
        let listen = &quell["properties"]["access"]["properties"]["listen"];
        assert_eq!(keys(listen), config::LISTEN);
        assert_eq!(keys(&listen["properties"]["tokens"]["items"]), config::TOKEN);
    }

    #[test]
    fn references_in_the_inputs_of_actions_are_found() {
        let schema = playbook_schema(&crate::load::tests::actions());
        let text = schema.to_string();
        for link in text.match_indices("\"$ref\":\"#").map(|(at, _)| &text[at + 9..]) {
            let end = link.find('"').unwrap();
            assert!(schema.pointer(&link[..end]).is_some(), "{}", &link[..end]);
        }
        assert!(text.contains("process.kill.Reach"));
    }
}

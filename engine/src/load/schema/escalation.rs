//! The JSON Schema of escalation.yaml.
//!
//! Owns its text. Names that mean another place in the file, and whether anybody is reached, are the check's.

use super::{DRAFT, duration, expression, object, one_of, secret_places, some, texts, words};
use crate::escalation::channels::Template;
use crate::escalation::policy::By;
use crate::load::escalation::policies::MOST_REPEATS;
use crate::load::escalation::{DAYS, UNITS};
use crate::load::trigger;
use quell_model::Json;
use quell_model::people::System;
use serde_json::json;

/// A name of the writer's own.
const WORD: &str = "^[A-Za-z0-9_.-]+$";
/// `09:00`.
const CLOCK: &str = r"^([01]?\d|2[0-3]):[0-5]\d$";
/// `2026-01-05`.
const DATE: &str = r"^\d{4}-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])$";
/// `2026-12-24T18:00`, or a date.
const MOMENT: &str = r"^\d{4}-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])([T ]([01]?\d|2[0-3]):[0-5]\d)?$";

/// The schema of escalation.yaml.
#[must_use]
pub fn escalation_schema() -> Json {
    let named = |description: &str, each: Json| json!({ "type": "object", "propertyNames": { "pattern": WORD }, "description": description, "additionalProperties": each });
    let mut all = object(json!({
        "people": named("By the name that the journal knows them by.", person()),
        "approvers": {
            "type": "object",
            "description": "Who may say yes where a playbook names them in `by`.",
            "additionalProperties": approvers(),
        },
        "policies": named("Who is told in which order, until somebody answers.", policy()),
        "channels": channels(),
        "schedules": named("Who is on call when.", schedule()),
        "routes": {
            "type": "array",
            "minItems": 1,
            "description": "Which policy an incident goes by: the first that fits.",
            "items": required(&["policy"], object(json!({
                "when": {
                    "$ref": "#/$defs/expression",
                    "description": "True or false of `incident`, which has `id`, `level`, `tags`, `rules` and `entity`; without it every incident.",
                },
                "policy": text("One of `policies`; `default` is there without being written."),
            }))),
        },
    }));
    all["$schema"] = json!(DRAFT);
    all["title"] = json!("escalation.yaml");
    all["$defs"] = json!({
        "duration": duration(),
        "expression": expression(),
        "secret": { "oneOf": secret_places(), "description": "Where the value is; never the value." },
        "url": { "anyOf": [{ "type": "string", "pattern": "^https?://" }, { "$ref": "#/$defs/secret" }] },
        "targets": targets(),
    });
    all
}

fn text(description: &str) -> Json {
    json!({ "type": "string", "description": description })
}

fn pattern(pattern: &str, description: &str) -> Json {
    json!({ "type": "string", "pattern": pattern, "description": description })
}

fn a_duration(description: &str) -> Json {
    json!({ "$ref": "#/$defs/duration", "description": description })
}

fn a_secret(description: &str) -> Json {
    json!({ "$ref": "#/$defs/secret", "description": description })
}

fn required(keys: &[&str], mut schema: Json) -> Json {
    schema["required"] = json!(keys);
    schema
}

fn described(mut schema: Json, description: &str) -> Json {
    schema["description"] = json!(description);
    schema
}

fn person() -> Json {
    let identities: serde_json::Map<String, Json> =
        System::ALL.iter().map(|(word, _)| ((*word).to_owned(), json!({ "type": "string" }))).collect();
    let mut identities = object(Json::Object(identities));
    identities["properties"]["unix"] =
        json!({ "type": ["string", "integer"], "description": "A user of this host, or a uid." });
    identities["description"] = json!("Who they are elsewhere; an identity is one person's.");
    let webhook = object(json!({ "webhook": text("One of `channels.webhooks`.") }));
    object(json!({
        "name": text("As people call them."),
        "email": pattern(r"^\S+@\S+$", "Where mail reaches them; an identity too."),
        "time_zone": text("As the IANA names it: `Europe/Lisbon`."),
        "roles": texts("What they may do besides reading: names of `access.roles` of quell.yaml."),
        "identities": identities,
        "wake": described(required(&["webhook"], webhook), "What wakes them."),
    }))
}

fn approvers() -> Json {
    required(
        &["people"],
        object(json!({
            "people": some("Which of the people."),
            "quorum": { "type": "integer", "minimum": 1, "description": "So many of them have to say yes; 1 if absent." },
            "not_requester": { "type": "boolean", "description": "Whoever started the run, or had it tried again, does not count; true if absent." },
            "policy": text("The policy that carries the question up: one of `policies`."),
        })),
    )
}

fn channels() -> Json {
    let slack = required(
        &["bot_token", "channel"],
        object(json!({
            "bot_token": a_secret("The bot's token."),
            "signing_secret": {
                "anyOf": [
                    { "$ref": "#/$defs/secret" },
                    { "type": "array", "minItems": 1, "maxItems": 2, "items": { "$ref": "#/$defs/secret" } },
                ],
                "description": "What Slack signs its requests with; two while it is changed, the newer first.",
            },
            "app_token": a_secret("For Socket Mode: the app's own token."),
            "api_url": pattern("^https?://", "Where its API is; https://slack.com/api if absent."),
            "channel": text("Where incidents are told: `\"#incidents\"`, or a channel's id."),
        })),
    );
    let smtp = json!({ "anyOf": [{ "type": "string", "pattern": "^smtps?://" }, { "$ref": "#/$defs/secret" }], "description": "`smtp://HOST:PORT` (with STARTTLS where it is offered) or `smtps://HOST:PORT`, or where that is." });
    let mut email = required(
        &["smtp", "from"],
        object(json!({
            "smtp": smtp,
            "user": a_secret("Who quell is there."),
            "password": a_secret("The password."),
            "from": pattern(r"^\S+@\S+$", "The address that mails come from."),
        })),
    );
    email["dependentRequired"] = json!({ "user": ["password"], "password": ["user"] });
    let url = |description: &str| json!({ "$ref": "#/$defs/url", "description": description });
    let beat = required(
        &["url"],
        object(json!({
            "url": url("What is asked."),
            "every": a_duration("How often; 1m if absent."),
        })),
    );
    let webhook = required(
        &["template"],
        object(json!({
            "template": one_of(&words(&Template::ALL), "What it is sent."),
            "url": url("Where; PagerDuty's own if absent there."),
            "secret": a_secret("PagerDuty's routing key, Opsgenie's API key, what JSON is signed with, or ntfy's token."),
        })),
    );
    object(json!({
        "console": described(object(json!({})), "Prints on the terminal of the daemon. On by itself where no other way is."),
        "slack": described(slack, "A Slack workspace."),
        "email": described(email, "A mail server."),
        "beat": described(beat, "A dead man's switch: told as long as all is well."),
        "webhooks": {
            "type": "object", "minProperties": 1, "propertyNames": { "pattern": WORD },
            "description": "What wakes people, by name.", "additionalProperties": webhook,
        },
    }))
}

fn schedule() -> Json {
    let days: Vec<&str> = words(&DAYS);
    let day = json!({ "enum": days });
    let span = days.join("|");
    let days = json!({ "type": "string", "pattern": format!(r"^({span})(\.\.({span}))?$") });
    let units = words(&UNITS).join("|");
    let mut window = object(json!({
        "days": {
            "anyOf": [days.clone(), { "type": "array", "minItems": 1, "items": days }],
            "description": "`mon..fri`, `sat`, or a list; each day if absent.",
        },
        "from": pattern(CLOCK, "From this time on; the day's begin if absent."),
        "to": pattern(&format!("{CLOCK}|^24:00$"), "Up to this one, on the next day where it is not after `from`; the day's end if absent."),
    }));
    window["minProperties"] = json!(1);
    let layer = required(
        &["rotation", "every", "start"],
        object(json!({
            "rotation": some("Who takes turns, in this order."),
            "every": pattern(&format!(r"^\d+\s+({units})s?$"), "How long a turn is: `1 week`, `12 hours`."),
            "handoff": described(required(&["at"], object(json!({
                "day": described(day, "On this day of the week, where turns are counted by weeks."),
                "at": pattern(CLOCK, "At this time."),
            }))), "When turns change; at midnight if absent."),
            "start": pattern(DATE, "The first turn begins at the first handoff on or after this day."),
            "restrict": { "type": "array", "minItems": 1, "items": window, "description": "It has somebody only within these; always if absent." },
        })),
    );
    let instead = required(
        &["who", "from", "to"],
        object(json!({
            "who": text("Who."),
            "from": pattern(MOMENT, "From this moment on."),
            "to": pattern(MOMENT, "Up to this one."),
        })),
    );
    required(
        &["time_zone", "layers"],
        object(json!({
            "time_zone": text("In which its times are meant, as the IANA names it."),
            "layers": { "type": "array", "minItems": 1, "items": layer, "description": "Later ones lie over earlier ones where they have somebody." },
            "overrides": { "type": "array", "items": instead, "description": "These lie over all layers; the one further down wins." },
        })),
    )
}

fn targets() -> Json {
    let one = |key: &str, description: &str| {
        let mut only = serde_json::Map::new();
        only.insert(key.to_owned(), text(description));
        required(&[key], object(Json::Object(only)))
    };
    json!({ "type": "array", "minItems": 1, "items": { "oneOf": [
        one("schedule", "Whoever is on call by it."),
        one("person", "This one of the people."),
        one("channel", "Whoever reads it: `slack`, `console` or a webhook's name."),
    ] } })
}

fn policy() -> Json {
    let wait = |description: &str| json!({ "wait": a_duration(description) });
    let step = required(
        &["notify", "wait"],
        object(json!({
            "notify": { "$ref": "#/$defs/targets", "description": "Whom." },
            "by": {
                "type": "array", "minItems": 1, "uniqueItems": true, "items": { "enum": words(&By::ALL) },
                "description": "By which ways; by every way that a person has if absent.",
            },
            "wait": a_duration("How long it waits for an answer before the next step."),
            "ack": {
                "anyOf": [{ "enum": ["any", "each"] }, { "type": "integer", "minimum": 1 }],
                "description": "Whose answer ends it: anybody's, everybody's who was told, or so many people's; `any` if absent.",
            },
        })),
    );
    let levels = words(trigger::LEVELS);
    required(
        &["steps", "last_resort"],
        object(json!({
            "steps": { "type": "array", "minItems": 1, "items": step, "description": "One after the other." },
            "repeat": { "type": "integer", "minimum": 0, "maximum": MOST_REPEATS, "description": "How often they begin again after the last; 0 if absent." },
            "ack_timeout": a_duration("An acknowledged incident that nobody moves for so long is raised again; never if absent."),
            "last_resort": { "$ref": "#/$defs/targets", "description": "Who is told when all of it came to nothing." },
            "severity": {
                "type": "object",
                "description": "What differs at a level.",
                "propertyNames": { "enum": levels },
                "additionalProperties": required(&["wait"], object(wait("Every step's `wait`."))),
            },
        })),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::escalation::{self, people, policies, routes, schedules};

    fn keys(schema: &Json) -> Vec<&str> {
        schema["properties"].as_object().map(|map| map.keys().map(String::as_str).collect()).unwrap_or_default()
    }

    #[test]
    fn the_schema_knows_the_keys_that_the_reader_takes() {
        let all = escalation_schema();
        assert_eq!(keys(&all), escalation::KEYS);
        let top = &all["properties"];
        let person = &top["people"]["additionalProperties"];
        assert_eq!(keys(person), people::PERSON);
        assert_eq!(keys(&person["properties"]["wake"]), people::WAKE);
        assert_eq!(keys(&top["approvers"]["additionalProperties"]), people::APPROVERS);
        let channels = &top["channels"];
        assert_eq!(keys(channels), escalation::CHANNELS);
        let channels = &channels["properties"];
        assert_eq!(keys(&channels["slack"]), escalation::SLACK);
        assert_eq!(keys(&channels["email"]), escalation::EMAIL);
        assert_eq!(keys(&channels["beat"]), escalation::BEAT);
        assert_eq!(keys(&channels["webhooks"]["additionalProperties"]), escalation::WEBHOOK);
        let schedule = &top["schedules"]["additionalProperties"];
        assert_eq!(keys(schedule), schedules::SCHEDULE);
        assert_eq!(keys(&schedule["properties"]["overrides"]["items"]), schedules::OVERRIDE);
        let layer = &schedule["properties"]["layers"]["items"];
        assert_eq!(keys(layer), schedules::LAYER);
        assert_eq!(keys(&layer["properties"]["handoff"]), schedules::HANDOFF);
        assert_eq!(keys(&layer["properties"]["restrict"]["items"]), schedules::WINDOW);
        let policy = &top["policies"]["additionalProperties"];
        assert_eq!(keys(policy), policies::POLICY);
        assert_eq!(keys(&policy["properties"]["steps"]["items"]), policies::STEP);
        assert_eq!(keys(&policy["properties"]["severity"]["additionalProperties"]), policies::AT_LEVEL);
        let targets = all["$defs"]["targets"]["items"]["oneOf"].as_array().unwrap();
        assert_eq!(targets.iter().flat_map(keys).collect::<Vec<_>>(), policies::TARGET);
        assert_eq!(keys(&top["routes"]["items"]), routes::ROUTE);
    }
}

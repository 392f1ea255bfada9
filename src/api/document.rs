//! The API's description (OpenAPI 3.1), made of the routes and the types that answer.
//!
//! Owns what holds for all of it: the head, the tags, and what every route may refuse. Never describes a route: its own file
//! does.

use super::problem::{ProblemDocument, described};
use super::stream::{Begin, End, Gap};
use super::{access, routes};
use axum::http::header;
use axum::response::IntoResponse;
use quell_engine::report::Happening;
use std::sync::LazyLock;
use utoipa::openapi::path::{Operation, PathItem};
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme};
use utoipa::openapi::server::ServerVariableBuilder;
use utoipa::openapi::tag::TagBuilder;
use utoipa::openapi::{InfoBuilder, LicenseBuilder, OpenApi, OpenApiBuilder, RefOr, Schema, ServerBuilder};
use utoipa::{PartialSchema, ToSchema};

const ABOUT: &str = "What the daemon (`quell up`) answers on its Unix socket `DATA_DIR/quell.sock`, and what the command \
line asks. JSON in and out; whatever is refused is a problem (RFC 9457) with a `hint`. Moments have two clocks: `wall` for \
people, `boot_ns` (CLOCK_BOOTTIME, nanoseconds) for spans. Fields may be added within a version: read past those that you \
do not know. `x-permission` of a route is what its caller must be allowed (`access.roles` in quell.yaml); `answer`: to be somebody whom the question asks.";

/// What is said of the bearer token; the socket needs none.
const TOKEN: &str = "On TCP: one of `access.listen.tokens` of quell.yaml. What it may is its role's to say: a route's requirement names the \
permission that the role must have (`approve` for answers, which the token must have a `person` for). On the Unix socket nothing is \
sent: the kernel says who the caller is, and escalation.yaml which roles they have.";

const TAGS: &[(&str, &str)] = &[
    ("system", "The daemon itself: how it stands, pausing it, reloading its files"),
    ("runs", "Durable executions of playbooks: each step with its outcome and proof, what they ask, what stands"),
    ("incidents", "What was detected about one entity, and all that was done about it"),
    ("playbooks", "What answers detections"),
    ("breakers", "What keeps a playbook that would act too widely from acting without a word"),
    ("silences", "Of which incidents nobody is paged for a while: never what contains, never what asks"),
    ("stream", "What happens, as it happens: server-sent events"),
];

/// What holds for all of it.
pub(super) fn head() -> OpenApi {
    let license = LicenseBuilder::new().name("Apache-2.0").identifier(Some("Apache-2.0")).build();
    let info = InfoBuilder::new()
        .title("quell")
        .version(env!("CARGO_PKG_VERSION"))
        .description(Some(ABOUT))
        .license(Some(license))
        .build();
    let tag = |(name, about): &(&str, &str)| TagBuilder::new().name(*name).description(Some(*about)).build();
    let socket = ServerBuilder::new().url("http://quell").description(Some("the Unix socket: any host name will do"));
    let variable = |value: &str| ServerVariableBuilder::new().default_value(value);
    let tcp = ServerBuilder::new()
        .url("https://{host}:{port}")
        .description(Some("where `access.listen` of quell.yaml says so"))
        .parameter("host", variable("localhost"))
        .parameter("port", variable("7071"));
    OpenApiBuilder::new()
        .info(info)
        .servers(Some([socket.build(), tcp.build()]))
        .tags(Some(TAGS.iter().map(tag)))
        .build()
}

/// The description, whole.
fn whole() -> OpenApi {
    let mut document = routes::described();
    let components = document.components.get_or_insert_default();
    let bearer = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).description(Some(TOKEN));
    components.add_security_scheme("token", SecurityScheme::Http(bearer.build()));
    components.schemas.insert("Problem".to_owned(), ProblemDocument::schema());
    if let Some(RefOr::T(Schema::Object(anything))) = components.schemas.get_mut("Value") {
        anything.description = Some("Any JSON: its shape is that of the action, the event or the playbook.".to_owned());
    }
    let mut told = Vec::new();
    Happening::schemas(&mut told);
    End::schemas(&mut told);
    components.schemas.extend(told);
    for (name, schema) in [("Happening", Happening::schema()), ("Begin", Begin::schema())] {
        components.schemas.insert(name.to_owned(), schema);
    }
    for (name, schema) in [("Gap", Gap::schema()), ("End", End::schema())] {
        components.schemas.insert(name.to_owned(), schema);
    }
    document.paths.paths.values_mut().flat_map(operations).for_each(|operation| {
        // The functions are called by what they do, their files by what they do it to.
        let tag = operation.tags.iter().flatten().next().cloned().unwrap_or_default();
        operation.operation_id = operation.operation_id.take().map(|name| format!("{tag}_{name}"));
        // Nothing at all is a way too: that of the socket, which generators of clients take as one that may be left out.
        let wanted = SecurityRequirement::new("token", [access::of_a_token(permission(operation))]);
        operation.security = Some(vec![wanted, SecurityRequirement::default()]);
        for (status, why) in EVERYWHERE {
            operation.responses.responses.entry((*status).to_owned()).or_insert_with(|| described(why));
        }
    });
    document
}

/// What a route says that its caller must be allowed.
fn permission(operation: &Operation) -> &str {
    let said = operation.extensions.as_ref().and_then(|extensions| extensions.get("x-permission"));
    said.and_then(serde_json::Value::as_str).unwrap_or_default()
}

/// What every route may refuse.
const EVERYWHERE: &[(&str, &str)] = &[
    ("401", "On TCP: there is no token, or it is nobody's"),
    ("403", "This caller may not do this"),
    ("500", "It went wrong inside; the log says more"),
    ("503", "The engine has ended, or the daemon is on its way out"),
    ("504", "The engine has not answered within 20 s: what was asked may still be done"),
];

fn operations(item: &mut PathItem) -> impl Iterator<Item = &mut Operation> {
    let PathItem { get, put, post, delete, options, head, patch, trace, .. } = item;
    [get, put, post, delete, options, head, patch, trace].into_iter().filter_map(Option::as_mut)
}

/// The description as it is printed, served and kept in docs/reference/openapi.json.
pub(crate) fn text() -> &'static str {
    static TEXT: LazyLock<String> = LazyLock::new(|| {
        let text = serde_json::to_string_pretty(&whole()).expect("a description has text keys only");
        format!("{text}\n")
    });
    &TEXT
}

/// Describe the API
///
/// This document: OpenAPI 3.1, made of the routes themselves.
#[utoipa::path(
    get, path = "/openapi.json", tag = "system", operation_id = "describe",
    extensions(("x-permission" = json!("read"))),
    responses((status = 200, description = "The document", body = Object)),
)]
pub(super) async fn serve() -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "application/json")], text())
}

#[cfg(test)]
mod tests {
    use super::super::VERSION;
    use super::*;
    use quell_engine::load::Permission;
    use serde_json::Value;
    use std::collections::BTreeSet;

    fn document() -> Value {
        serde_json::from_str(text()).unwrap()
    }

    #[test]
    fn every_route_says_what_it_is_what_it_takes_and_who_may() {
        const PERMISSIONS: &[&str] =
            &["read", "ack", "note", "resolve", "run", "undo", "answer", "pause", "mode", "config"];
        let document = document();
        let (mut names, tags) = (BTreeSet::new(), TAGS.iter().map(|(name, _)| *name).collect::<Vec<_>>());
        for (path, item) in document["paths"].as_object().unwrap() {
            assert!(path.starts_with(VERSION) || path == "/metrics", "{path}");
            for (method, operation) in item.as_object().unwrap() {
                let at = format!("{method} {path}");
                assert!(names.insert(operation["operationId"].as_str().unwrap().to_owned()), "{at}: its id is taken");
                assert!(operation["summary"].as_str().is_some_and(|text| !text.is_empty()), "{at}: no summary");
                assert!(PERMISSIONS.contains(&operation["x-permission"].as_str().unwrap()), "{at}: no permission");
                let token = operation["security"][0]["token"][0].as_str().unwrap();
                assert!(Permission::WORDS.iter().any(|(word, _)| *word == token), "{at}: {token}");
                assert!(tags.contains(&operation["tags"][0].as_str().unwrap()), "{at}: no tag");
                for parameter in operation["parameters"].as_array().into_iter().flatten() {
                    assert!(parameter["description"].is_string(), "{at}: {parameter}");
                }
                let named = path.matches('{').count();
                let declared = operation["parameters"].as_array().into_iter().flatten();
                assert_eq!(declared.filter(|p| p["in"] == "path").count(), named, "{at}");
                let answers = operation["responses"].as_object().unwrap();
                assert!(answers.keys().any(|status| status.starts_with('2')), "{at}");
                for (status, answer) in answers.iter().filter(|(status, _)| !status.starts_with('2')) {
                    let schema = &answer["content"][super::super::problem::PROBLEM]["schema"]["$ref"];
                    assert_eq!(schema, "#/components/schemas/Problem", "{at}: {status}");
                }
            }
        }
    }

    /// Whoever reads the document has no source beside it.
    #[test]
    fn every_field_has_words() {
        let document = document();
        for (name, schema) in document["components"]["schemas"].as_object().unwrap() {
            for (field, property) in schema["properties"].as_object().into_iter().flatten() {
                // What may be null says it beside its reference.
                let words = [&property["description"], &property["oneOf"][0]["description"]];
                assert!(words.iter().any(|words| words.is_string()), "{name}.{field}: {property}");
            }
        }
    }

    /// A reference without its schema makes no sense to a reader.
    #[test]
    fn every_reference_leads_somewhere() {
        fn look(at: &Value, document: &Value) {
            match at {
                Value::Object(map) => {
                    if let Some(to) = map.get("$ref").and_then(Value::as_str) {
                        assert!(document.pointer(&to[1..]).is_some(), "{to}");
                    }
                    map.values().for_each(|value| look(value, document));
                }
                Value::Array(list) => list.iter().for_each(|value| look(value, document)),
                _ => {}
            }
        }
        let document = document();
        look(&document, &document);
    }

    /// `quell api schema > docs/reference/openapi.json` writes it.
    #[test]
    fn the_reference_is_what_the_routes_say() {
        let kept = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/reference/openapi.json"));
        assert!(kept.unwrap() == text(), "run `quell api schema > docs/reference/openapi.json`");
    }

    /// Nothing of the API answers without being described: a route is entered by `routes!` or not at all.
    #[test]
    fn no_route_is_entered_another_way() {
        fn look(dir: &std::path::Path) {
            for entry in std::fs::read_dir(dir).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    look(&path);
                    continue;
                }
                // What is no part of the API, and described where people read of it: Slack's requests, the pages of mails, and what
                // API servers of clusters bring.
                let outside = ["slack/http.rs", "api/link.rs", "api/webhook.rs"];
                let is_outside = outside.iter().any(|file| path.ends_with(file));
                if path.ends_with("tests.rs") || is_outside {
                    continue;
                }
                let text = std::fs::read_to_string(&path).unwrap();
                for way in ["route(", "route_service(", "nest_service(", "MethodRouter"] {
                    let way = format!(".{way}");
                    assert!(!text.contains(&way), "{} uses `{way}`", path.display());
                }
            }
        }
        look(std::path::Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/src/api")));
    }
}

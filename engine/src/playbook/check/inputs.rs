//! Actions and their inputs, held against the schema that each action declares.
//!
//! What holds an expression is not known before the run; everything that is written out is checked.

use crate::load::Known;
use crate::load::playbook::Draft;
use crate::load::reader::{Reader, one_of};
use crate::load::yaml::{Entry, Node, Value};
use crate::playbook::check::secrets;
use crate::playbook::secret::{Takes, takes};
use crate::playbook::template;
use quell_model::Json;
use quell_model::playbook::StepKind;

pub(super) fn check(reader: &mut Reader<'_>, draft: &Draft<'_>, known: &Known<'_>) {
    for (step, places) in &draft.steps {
        let (StepKind::Action { action, .. }, Some(at)) = (&step.kind, places.action) else { continue };
        let Some(spec) = known.action(action.as_str()) else {
            let names = || known.actions.iter().map(|spec| spec.name);
            let mistake = reader.source.error(at, format!("there is no action `{action}`"));
            let mut mistake = mistake.expected("an action of this build; `quell action list` names them");
            // `kill_process` is none, and has the words of one.
            let turned = || names().find(|name| words_of(name) == words_of(action.as_str())).map(str::to_owned);
            mistake.nearest = reader.nearest(action.as_str(), names()).or_else(turned);
            reader.note(mistake);
            continue;
        };
        let schema = (spec.input)().to_value();
        if let Some(node) = places.with {
            secrets::check(reader, spec, node);
        }
        match places.with.map(|node| (node, &node.value)) {
            Some((node, Value::Map(entries))) => {
                let missing = object(reader, &schema, &schema, entries, action.as_str());
                if !missing.is_empty() {
                    reader.error(node.at, lacks(action.as_str(), &missing), needed(&schema, &missing));
                }
            }
            Some(_) => {}
            None => {
                let missing = required(&schema);
                if !missing.is_empty() {
                    reader.error(at, lacks(action.as_str(), &missing), needed(&schema, &missing));
                }
            }
        }
    }
}

/// The words of a name, in one order.
fn words_of(name: &str) -> Vec<&str> {
    let mut words: Vec<&str> = name.split(|c: char| !c.is_alphanumeric()).collect();
    words.sort_unstable();
    words
}

fn lacks(action: &str, missing: &[&str]) -> String {
    format!(
        "`{action}` lacks its input {}",
        missing.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
    )
}

fn needed(schema: &Json, missing: &[&str]) -> String {
    let each = missing.iter().map(|name| {
        let kind = schema.pointer(&format!("/properties/{name}")).map(|part| describe(part, schema));
        format!("{name}: {}", kind.unwrap_or_else(|| "…".to_owned()))
    });
    format!("with: {{ {} }}", each.collect::<Vec<_>>().join(", "))
}

fn required(schema: &Json) -> Vec<&str> {
    schema.get("required").and_then(Json::as_array).into_iter().flatten().filter_map(Json::as_str).collect()
}

/// Checks a map against an object's schema; gives what is required and absent.
fn object<'s>(reader: &mut Reader<'_>, schema: &'s Json, root: &Json, entries: &[Entry], whose: &str) -> Vec<&'s str> {
    let properties = schema.get("properties").and_then(Json::as_object);
    let open = match schema.get("additionalProperties") {
        Some(Json::Bool(open)) => *open,
        Some(_) => true,
        None => properties.is_none(),
    };
    for entry in entries {
        match properties.and_then(|all| all.get(&entry.key)) {
            Some(part) => value(reader, part, root, &entry.value, &format!("`{}` of `{whose}`", entry.key)),
            None if open => {}
            None => {
                let names: Vec<&str> = properties.into_iter().flat_map(|all| all.keys()).map(String::as_str).collect();
                let mistake = reader.source.error(entry.at, format!("`{whose}` has no input `{}`", entry.key));
                reader.note_near(mistake.expected(one_of(&names)), &entry.key, names.iter().copied());
            }
        }
    }
    required(schema).into_iter().filter(|name| !entries.iter().any(|entry| entry.key == *name)).collect()
}

/// Checks one value that is written out. Of secrets their own check speaks.
fn value(reader: &mut Reader<'_>, schema: &Json, root: &Json, node: &Node, what: &str) {
    if takes(schema, root) == Takes::Only {
        return;
    }
    if let Value::Text(text) = &node.value
        && text.contains(template::OPEN)
    {
        // What it will read is not known, and that it will be text.
        if template::whole(text).is_none() && !may_be_text(schema, root, text) {
            let what = format!("{what} holds text beside its expression, and so is text");
            reader.error(node.at, what, describe(schema, root));
        }
        return;
    }
    let schema = resolve(schema, root);
    if let (Value::Map(entries), true) = (&node.value, schema.get("properties").is_some()) {
        let missing = object(reader, schema, root, entries, what.trim_matches('`'));
        if !missing.is_empty() {
            reader.error(node.at, format!("{what} lacks {}", one_of(&missing)), describe(schema, root));
        }
        return;
    }
    if let (Value::List(list), Some(items)) = (&node.value, schema.get("items")) {
        for item in list {
            value(reader, items, root, item, &format!("an item of {what}"));
        }
        return;
    }
    if fits(schema, root, &node.to_json()) {
        return;
    }
    let mistake = reader.source.error(node.at, format!("{what} is {}", node.shown())).expected(describe(schema, root));
    let words = words(schema, root);
    let mistake = match &node.value {
        Value::Text(text) => mistake.nearest(text, words.iter().map(String::as_str)),
        _ => mistake,
    };
    reader.note(mistake);
}

/// Why a value that is known whole does not fit an object's schema; none when it does.
pub(crate) fn misfit(schema: &Json, value: &Json) -> Option<String> {
    let Json::Object(map) = value else { return Some("it is no map".to_owned()) };
    let properties = schema.get("properties").and_then(Json::as_object);
    if let Some(missing) = required(schema).into_iter().find(|name| !map.contains_key(*name)) {
        return Some(format!("`{missing}` is missing"));
    }
    map.iter().find_map(|(key, value)| match properties.and_then(|all| all.get(key)) {
        None if schema.get("additionalProperties") == Some(&Json::Bool(false)) => Some(format!("`{key}` is unknown")),
        Some(part) if !fits(part, schema, value) => {
            Some(format!("`{key}` is {value}, expected {}", describe(part, schema)))
        }
        _ => None,
    })
}

/// What a schema's property would rather have than this value, of which parts may be left out; none where it fits.
pub(crate) fn wanted(schema: &Json, property: &str, value: &Json) -> Option<String> {
    let part = schema.get("properties")?.get(property)?;
    (!is_part(part, schema, value)).then(|| describe(part, schema))
}

fn is_part(schema: &Json, root: &Json, json: &Json) -> bool {
    let schema = resolve(schema, root);
    if let Some(any) = alternatives(schema) {
        return any.iter().any(|one| is_part(one, root, json));
    }
    match (json, schema.get("items"), schema.get("properties")) {
        (Json::Array(list), Some(items), _) => list.iter().all(|item| is_part(items, root, item)),
        (Json::Object(map), _, Some(all)) => {
            map.iter().all(|(key, value)| all.get(key).is_none_or(|part| is_part(part, root, value)))
        }
        _ => fits(schema, root, json),
    }
}

/// Whether a text could fit of which only the beginning is known, up to its first expression.
fn may_be_text(schema: &Json, root: &Json, text: &str) -> bool {
    let schema = resolve(schema, root);
    if schema.get("const").is_some() || schema.get("enum").is_some() {
        let begins = text.split(template::OPEN).next().unwrap_or_default();
        return words(schema, root).iter().any(|word| word.starts_with(begins));
    }
    if let Some(any) = alternatives(schema) {
        return any.iter().any(|one| may_be_text(one, root, text));
    }
    let all = schema.get("allOf").and_then(Json::as_array);
    if all.is_some_and(|all| !all.iter().all(|one| may_be_text(one, root, text))) {
        return false;
    }
    let types = types(schema);
    types.is_empty() || types.contains(&"string")
}

pub(crate) fn resolve<'j>(schema: &'j Json, root: &'j Json) -> &'j Json {
    let target = schema.get("$ref").and_then(Json::as_str).and_then(|link| root.pointer(link.strip_prefix('#')?));
    target.map_or(schema, |target| resolve(target, root))
}

pub(crate) fn alternatives(schema: &Json) -> Option<&Vec<Json>> {
    schema.get("anyOf").or_else(|| schema.get("oneOf")).and_then(Json::as_array)
}

fn types(schema: &Json) -> Vec<&str> {
    match schema.get("type") {
        Some(Json::String(one)) => vec![one],
        Some(Json::Array(many)) => many.iter().filter_map(Json::as_str).collect(),
        _ => Vec::new(),
    }
}

fn fits(schema: &Json, root: &Json, json: &Json) -> bool {
    let schema = resolve(schema, root);
    if let Json::String(text) = json
        && text.contains(template::OPEN)
    {
        return true;
    }
    if let Some(only) = schema.get("const") {
        return json == only;
    }
    if let Some(allowed) = schema.get("enum").and_then(Json::as_array) {
        return allowed.contains(json);
    }
    if let Some(any) = alternatives(schema) {
        return any.iter().any(|one| fits(one, root, json));
    }
    if let Some(all) = schema.get("allOf").and_then(Json::as_array)
        && !all.iter().all(|one| fits(one, root, json))
    {
        return false;
    }
    let types = types(schema);
    if !types.is_empty() && !types.iter().any(|kind| is(kind, json)) {
        return false;
    }
    if let (Some(SPAN), Json::String(text)) = (schema.get("pattern").and_then(Json::as_str), json)
        && !is_span(text)
    {
        return false;
    }
    let number = json.as_f64();
    let bound = |key: &str| schema.get(key).and_then(Json::as_f64);
    let low = number.zip(bound("minimum")).is_none_or(|(n, least)| n >= least);
    let high = number.zip(bound("maximum")).is_none_or(|(n, most)| n <= most);
    let inside = match json {
        Json::Array(list) => schema.get("items").is_none_or(|items| list.iter().all(|item| fits(items, root, item))),
        Json::Object(map) => {
            let part = |key: &String| schema.pointer(&format!("/properties/{key}"));
            required(schema).iter().all(|name| map.contains_key(*name))
                && map.iter().all(|(key, value)| part(key).is_none_or(|part| fits(part, root, value)))
        }
        _ => true,
    };
    low && high && inside
}

/// The pattern by which actions declare a span of time; what another one means is the action's to say.
const SPAN: &str = r"^\d+(ms|s|m|h)$";

fn is_span(text: &str) -> bool {
    let unit = text.trim_start_matches(|c: char| c.is_ascii_digit());
    unit.len() < text.len() && matches!(unit, "ms" | "s" | "m" | "h")
}

fn is(kind: &str, json: &Json) -> bool {
    match kind {
        "null" => json.is_null(),
        "boolean" => json.is_boolean(),
        "integer" => json.is_i64() || json.is_u64(),
        "number" => json.is_number(),
        "string" => json.is_string(),
        "array" => json.is_array(),
        "object" => json.is_object(),
        _ => true,
    }
}

/// The words that a schema allows.
fn words(schema: &Json, root: &Json) -> Vec<String> {
    let schema = resolve(schema, root);
    let mine = schema.get("enum").and_then(Json::as_array).into_iter().flatten().chain(schema.get("const"));
    let mine = mine.filter_map(Json::as_str).map(str::to_owned);
    mine.chain(alternatives(schema).into_iter().flatten().flat_map(|one| words(one, root))).collect()
}

/// What a schema allows, in words.
fn describe(schema: &Json, root: &Json) -> String {
    let schema = resolve(schema, root);
    if takes(schema, root) == Takes::Only {
        return "a secret: ${{ secrets.NAME }}".to_owned();
    }
    let words = words(schema, root);
    if !words.is_empty() {
        return one_of(&words);
    }
    if schema.get("pattern").and_then(Json::as_str) == Some(SPAN) {
        return "a span of time like `200ms`, `5s`, `10m` or `1h`".to_owned();
    }
    if let Some(any) = alternatives(schema) {
        let each: Vec<String> = any.iter().map(|one| describe(one, root)).filter(|one| one != "nothing").collect();
        return one_of(&each);
    }
    let each: Vec<&str> = types(schema)
        .into_iter()
        .filter(|kind| *kind != "null")
        .map(|kind| match kind {
            "boolean" => "true or false",
            "integer" => "a whole number",
            "number" => "a number",
            "string" => "text",
            "array" => "a list",
            "object" => "a map",
            other => other,
        })
        .collect();
    match schema.get("minimum").and_then(Json::as_f64) {
        _ if each.is_empty() => "nothing".to_owned(),
        Some(least) if least > 0.0 => format!("{}, {least} or more", one_of(&each)),
        _ => one_of(&each),
    }
}

//! `quell action list|show|permissions`: what playbooks can use, from the specifications that every build has, and what it needs.

use super::table::{Table, cell};
use super::term::Ink;
use super::{Exit, Fail, Term, permissions};
use quell_model::ActionSpec;
use quell_model::secret::MARK;
use serde_json::{Value, json};

/// See [`run`].
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  quell action list\n  quell action show process.kill\n  quell action permissions --format kubernetes-rbac"
)]
pub(crate) struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// List every action
    #[command(after_help = "Example:\n  quell action list --json | jq -r '.[].id'")]
    List,
    /// Show an action's inputs, outputs and what it needs
    #[command(after_help = "Example:\n  quell action show process.kill")]
    Show {
        /// Its name, as in `quell action list`
        name: String,
    },
    /// Print the least that the loaded playbooks need to be allowed, or hold it against what is granted
    Permissions(permissions::Args),
}

/// Lists or shows.
pub(crate) fn run(args: &Args, term: &Term) -> Result<Exit, Fail> {
    let mut specs = crate::daemon::specs();
    specs.sort_by_key(|spec| spec.name);
    match &args.what {
        What::Permissions(args) => permissions::run(args, term),
        What::List => {
            if term.is_json() {
                term.document(&specs.iter().map(|spec| document(spec)).collect::<Vec<_>>());
                return Ok(Exit::Right);
            }
            let mut table = Table::new(&["action", "lane", "undo", "what it does"]);
            for spec in specs {
                let undo = if spec.undoable { "yes" } else { "no" };
                table.row([(Ink::Name, spec.name.to_owned()), cell(lane(spec)), cell(undo), cell(spec.summary)]);
            }
            table.print(term, "this build has no actions");
            Ok(Exit::Right)
        }
        What::Show { name } => {
            let Some(spec) = specs.iter().find(|spec| spec.name == name) else {
                let near = quell_model::mistake::nearest(name, specs.iter().map(|spec| spec.name));
                let fail = Fail::not_right(format!("there is no action `{name}`"));
                return Err(fail.hint(match near {
                    Some(near) => format!("did you mean `{near}`?"),
                    None => "`quell action list` lists them".to_owned(),
                }));
            };
            if term.is_json() {
                term.document(&document(spec));
            } else {
                show(spec, term);
            }
            Ok(Exit::Right)
        }
    }
}

fn lane(spec: &ActionSpec) -> String {
    word(&serde_json::to_value(spec.lane).unwrap_or_default())
}

fn word(value: &Value) -> String {
    value.as_str().unwrap_or_default().replace('_', " ")
}

fn document(spec: &ActionSpec) -> Value {
    json!({
        "id": spec.name, "summary": spec.summary, "lane": spec.lane, "guarantee": spec.guarantee,
        "undoable": spec.undoable, "asks_by_default": spec.asks_by_default, "targets": spec.targets, "permissions": spec.permissions,
        "input": (spec.input)(), "output": (spec.output)(),
    })
}

fn show(spec: &ActionSpec, term: &Term) {
    term.line(format!("{}  {}", term.ink(Ink::Bold, spec.name), spec.summary));
    term.line("");
    let guarantee = word(&serde_json::to_value(spec.guarantee).unwrap_or_default());
    let list = |items: &[&str]| if items.is_empty() { "none".to_owned() } else { items.join(", ") };
    let asks =
        spec.asks_by_default.then(|| ("asks", "a person first, also where the step has no `approve`".to_owned()));
    let facts = [
        ("lane", lane(spec)),
        ("repeated", guarantee),
        ("undo", if spec.undoable { "yes".to_owned() } else { "no".to_owned() }),
        ("targets", list(spec.targets)),
        ("needs", list(spec.permissions)),
    ];
    for (name, text) in facts.into_iter().chain(asks) {
        term.line(format!("  {}  {text}", term.ink(Ink::Dim, &format!("{name:<9}"))));
    }
    for (heading, schema) in [("with", (spec.input)()), ("gives", (spec.output)())] {
        term.line("");
        term.line(term.ink(Ink::Bold, heading));
        let mut table = Table::new(&["name", "type", "", "meaning"]);
        let schema = schema.to_value();
        let required = schema.get("required").and_then(Value::as_array).cloned().unwrap_or_default();
        for (name, property) in schema.get("properties").and_then(Value::as_object).into_iter().flatten() {
            let must = heading == "with" && required.iter().any(|r| r == name);
            table.row([
                (Ink::Name, format!("  {name}")),
                cell(kind(&schema, property)),
                cell(if must { "required" } else { "" }),
                cell(meaning(property)),
            ]);
        }
        table.print(term, "  nothing");
    }
}

fn meaning(property: &Value) -> String {
    let text = property.get("description").and_then(Value::as_str).unwrap_or_default().replace('\n', " ");
    match property.get("default").filter(|default| !default.is_null()) {
        Some(default) => format!("{text} [default: {default}]"),
        None => text,
    }
}

/// A type's name: of an enumeration its words.
fn kind(root: &Value, property: &Value) -> String {
    let named =
        property.get("$ref").and_then(Value::as_str).and_then(|path| root.pointer(path.trim_start_matches('#')));
    let property = named.unwrap_or(property);
    if property.get(MARK) == Some(&Value::Bool(true)) {
        return "secret".to_owned();
    }
    if let Some(words) = property.get("enum").and_then(Value::as_array) {
        return words.iter().map(word).collect::<Vec<_>>().join("|");
    }
    for several in ["oneOf", "anyOf"] {
        if let Some(choices) = property.get(several).and_then(Value::as_array) {
            let kinds = choices.iter().map(|choice| match choice.get("const").and_then(Value::as_str) {
                Some(text) => text.to_owned(),
                None => kind(root, choice),
            });
            return kinds.filter(|k| k != "null").collect::<Vec<_>>().join("|");
        }
    }
    match property.get("type") {
        Some(Value::String(one)) if one == "array" => {
            format!("list of {}", property.get("items").map_or_else(|| "anything".to_owned(), |i| kind(root, i)))
        }
        Some(Value::String(one)) => one.clone(),
        Some(Value::Array(several)) => {
            several.iter().filter_map(Value::as_str).filter(|t| *t != "null").collect::<Vec<_>>().join("|")
        }
        _ => "anything".to_owned(),
    }
}

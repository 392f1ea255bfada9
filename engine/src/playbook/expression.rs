//! Evaluating `${{ … }}`: the names it sees, and what comes out.
//!
//! Pure: the same text and scope give the same value. Never touches the world, and always ends (see `sandbox`).

use super::compiled::{Compiled, Kept, walk};
use super::template::{self, Piece};
use super::{sandbox, values};
use jiff::Timestamp;
use quell_model::{Json, People};
use rhai::{Dynamic, Engine, Position};
use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

/// What an expression can see. `null` where there is nothing.
#[derive(Clone, Copy, Debug)]
pub struct Scope<'a> {
    /// The event, under quell's own names.
    pub event: &'a Json,
    /// The detection that started the run.
    pub detection: &'a Json,
    /// All detections of the run, a list.
    pub detections: &'a Json,
    /// The incident.
    pub incident: &'a Json,
    /// The run's inputs.
    pub inputs: &'a Json,
    /// From quell.yaml.
    pub vars: &'a Json,
    /// Steps that have ended: id → `outcome` and outputs.
    pub steps: &'a Json,
    /// The item of a `for_each`.
    pub item: &'a Json,
    /// The detection that a step which waits looks at, with its event.
    pub seen: &'a Json,
    /// The run: `id`, `playbook`, `mode` …
    pub run: &'a Json,
    /// `now()`: the run's journaled time.
    pub now: Timestamp,
    /// Whom `person_of` knows.
    pub people: Option<&'a Arc<People>>,
    /// Why something that is read here cannot be: nothing is evaluated then.
    pub trouble: Option<&'a str>,
}

impl<'a> Scope<'a> {
    /// A scope in which everything is absent.
    #[must_use]
    pub fn empty(now: Timestamp) -> Self {
        const NULL: &Json = &Json::Null;
        Self {
            event: NULL,
            detection: NULL,
            detections: NULL,
            incident: NULL,
            inputs: NULL,
            vars: NULL,
            steps: NULL,
            item: NULL,
            seen: NULL,
            run: NULL,
            now,
            people: None,
            trouble: None,
        }
    }

    /// The variable of this name.
    pub(crate) fn root(&self, name: &str) -> Option<&'a Json> {
        Some(match name {
            "event" => self.event,
            "detection" => self.detection,
            "detections" => self.detections,
            "incident" => self.incident,
            "inputs" => self.inputs,
            "vars" => self.vars,
            "steps" => self.steps,
            "item" => self.item,
            "seen" => self.seen,
            "run" => self.run,
            _ => return None,
        })
    }
}

/// Why an expression gave nothing.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub struct ExpressionError {
    /// The expression; empty until known.
    pub text: String,
    /// What went wrong, for people.
    pub what: String,
    /// Line and column in the text, from 1.
    pub place: Option<(usize, usize)>,
}

impl ExpressionError {
    pub(crate) fn new(what: impl Into<String>) -> Self {
        Self { text: String::new(), what: what.into(), place: None }
    }

    pub(crate) fn at(what: impl Into<String>, place: Position) -> Self {
        let place = place.line().map(|line| (line, place.position().unwrap_or(1)));
        Self { text: String::new(), what: what.into(), place }
    }

    fn of(mut self, text: &str) -> Self {
        if self.text.is_empty() {
            text.clone_into(&mut self.text);
        }
        self
    }
}

impl fmt::Display for ExpressionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN: usize = 80;
        if self.text.is_empty() {
            return f.write_str(&self.what);
        }
        let line: String = self.text.split_whitespace().collect::<Vec<_>>().join(" ");
        match line.char_indices().nth(SHOWN) {
            Some((cut, _)) => write!(f, "`{}…`: {}", &line[..cut], self.what),
            None => write!(f, "`{line}`: {}", self.what),
        }
    }
}

/// Evaluates expressions; shared by all threads.
pub struct Expressions {
    engine: Engine,
    expressions: Kept,
    scripts: Kept,
}

impl fmt::Debug for Expressions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Expressions")
    }
}

impl Default for Expressions {
    fn default() -> Self {
        Self::new()
    }
}

impl Expressions {
    /// With the sandbox's limits.
    #[must_use]
    pub fn new() -> Self {
        Self { engine: sandbox::engine(), expressions: Kept::default(), scripts: Kept::default() }
    }

    /// Whether an expression can be compiled; the error has its place.
    pub fn compile(&self, text: &str) -> Result<(), ExpressionError> {
        self.expression(text).map(|_| ())
    }

    /// Whether a script can be compiled; the error has its place.
    pub fn compile_script(&self, text: &str) -> Result<(), ExpressionError> {
        self.program(text).map(|_| ())
    }

    /// The value of an expression (without `${{ }}`).
    pub fn eval(&self, text: &str, scope: &Scope<'_>) -> Result<Json, ExpressionError> {
        self.value(text, scope).map(Cow::into_owned)
    }

    /// The value of a condition: anything but true or false is an error.
    pub fn truth(&self, text: &str, scope: &Scope<'_>) -> Result<bool, ExpressionError> {
        let value = self.value(text, scope)?;
        value.as_bool().ok_or_else(|| {
            let shown = serde_json::to_string(&*value).unwrap_or_default();
            let shown: String = shown.chars().take(60).collect();
            ExpressionError::new(format!("it gives `{shown}`, and true or false is expected")).of(text)
        })
    }

    /// Fills in every string of a template: one that is a whole expression keeps its type, others become text.
    pub fn render(&self, template: &Json, scope: &Scope<'_>) -> Result<Json, ExpressionError> {
        match template {
            Json::String(text) => match template::whole(text) {
                Some(expression) => self.eval(expression, scope),
                None => self.render_text(text, scope).map(Json::String),
            },
            Json::Array(list) => list.iter().map(|item| self.render(item, scope)).collect(),
            Json::Object(map) => map.iter().map(|(key, value)| Ok((key.clone(), self.render(value, scope)?))).collect(),
            plain => Ok(plain.clone()),
        }
    }

    /// Fills in a text. What is absent reads `none`, lists are joined by commas.
    pub fn render_text(&self, text: &str, scope: &Scope<'_>) -> Result<String, ExpressionError> {
        if !text.contains(template::OPEN) {
            return Ok(text.to_owned());
        }
        let pieces = template::pieces(text).map_err(|_| ExpressionError::new("`${{` without `}}`").of(text))?;
        let mut out = String::with_capacity(text.len());
        for piece in pieces {
            match piece {
                Piece::Text(range) => out.push_str(&text[range]),
                Piece::Expression(range) => write_plain(&mut out, &*self.value(&text[range], scope)?),
            }
        }
        Ok(out)
    }

    /// Runs a script, which must give a map.
    pub fn script(&self, text: &str, scope: &Scope<'_>) -> Result<Json, ExpressionError> {
        let program = self.program(text)?;
        match self.run(&program, scope).map_err(|error| error.of(text))? {
            Cow::Owned(map @ Json::Object(_)) => Ok(map),
            Cow::Owned(Json::Null) => Ok(Json::Object(serde_json::Map::new())),
            _ => Err(ExpressionError::new("a script gives a map: end it with `#{ name: value }`").of(text)),
        }
    }

    pub(super) fn expression(&self, text: &str) -> Result<Arc<Compiled>, ExpressionError> {
        let make = || Compiled::expression(&self.engine, text);
        self.expressions.get(text, make).map_err(|error| error.of(text))
    }

    pub(super) fn program(&self, text: &str) -> Result<Arc<Compiled>, ExpressionError> {
        self.scripts.get(text, || Compiled::script(&self.engine, text)).map_err(|error| error.of(text))
    }

    fn value<'s>(&self, text: &str, scope: &Scope<'s>) -> Result<Cow<'s, Json>, ExpressionError> {
        let compiled = self.expression(text)?;
        self.run(&compiled, scope).map_err(|error| error.of(text))
    }

    fn run<'s>(&self, compiled: &Compiled, scope: &Scope<'s>) -> Result<Cow<'s, Json>, ExpressionError> {
        if let Some(why) = scope.trouble {
            return Err(ExpressionError::new(why));
        }
        let (ast, wanted) = match compiled {
            Compiled::Path(path) => return walk(path, scope).map(Cow::Borrowed),
            Compiled::Code { ast, wanted } => (ast, wanted),
        };
        let mut variables = rhai::Scope::new();
        for (name, wanted) in wanted {
            if let Some(value) = scope.root(name) {
                variables.push_dynamic(name.as_str(), wanted.pick(value, &mut vec![name.clone()]));
            }
        }
        let _bound = sandbox::bind(scope.now, scope.people);
        let result = self.engine.eval_ast_with_scope::<Dynamic>(&mut variables, ast);
        match result {
            Ok(value) => values::to_json(value.flatten()).map(Cow::Owned),
            Err(error) => {
                let (what, place) = sandbox::explain(&error);
                Err(ExpressionError::at(what, place))
            }
        }
    }
}

/// A value inside a text.
fn write_plain(out: &mut String, value: &Json) {
    match value {
        Json::Null => out.push_str("none"),
        Json::String(text) => out.push_str(text),
        Json::Array(list) => {
            for (at, item) in list.iter().enumerate() {
                if at > 0 {
                    out.push_str(", ");
                }
                write_plain(out, item);
            }
        }
        other => out.push_str(&other.to_string()),
    }
}

#[cfg(test)]
mod tests;

//! What an expression was made into, and the bounded memory of those.
//!
//! A path alone (`event.process.id`) needs no script: it is walked in the JSON. Anything else is compiled once and kept
//! under its text.

use super::expression::{ExpressionError, Scope};
use super::names::{self, Names};
use super::secret;
use super::values::{self, Wanted};
use quell_model::Json;
use rhai::{AST, Engine};
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, PoisonError, RwLock};

/// Texts kept: a hundred playbooks of forty expressions. When full, all are forgotten and made again.
const MOST: usize = 4096;

/// An expression, ready.
pub(crate) enum Compiled {
    /// A variable and the parts behind it.
    Path(Vec<Segment>),
    /// Anything else.
    Code {
        /// The program.
        ast: Box<AST>,
        /// What it reads, by variable.
        wanted: BTreeMap<String, Wanted>,
    },
}

/// A part of a path.
pub(crate) struct Segment {
    name: Box<str>,
    optional: bool,
}

impl Segment {
    /// The part's name.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }
}

impl Compiled {
    /// Makes an expression.
    pub(crate) fn expression(engine: &Engine, text: &str) -> Result<Self, ExpressionError> {
        // The compiler goes first: what it takes is not too deep for any other reader.
        let ast = Box::new(parse(engine.compile_expression(text))?);
        let names = names::names(text);
        if names.only_a_path && !names.uses[0].parts.iter().any(|part| values::is_own_property(part.name)) {
            return Ok(Self::Path(segments(&names)));
        }
        Ok(Self::Code { ast, wanted: Wanted::of(&names) })
    }

    /// Makes a script: statements, the last of which is its value.
    pub(crate) fn script(engine: &Engine, text: &str) -> Result<Self, ExpressionError> {
        let ast = Box::new(parse(engine.compile(text))?);
        Ok(Self::Code { ast, wanted: Wanted::of(&names::names(text)) })
    }
}

fn parse(result: Result<AST, rhai::ParseError>) -> Result<AST, ExpressionError> {
    result.map_err(|error| {
        let rhai::ParseError(kind, place) = error;
        ExpressionError::at(kind.to_string(), place)
    })
}

fn segments(names: &Names<'_>) -> Vec<Segment> {
    let parts = names.uses[0].parts.iter();
    parts.map(|part| Segment { name: part.name.into(), optional: part.optional }).collect()
}

/// Walks a path; a `?.` behind something absent ends the walk with `null`.
pub(crate) fn walk<'s>(path: &[Segment], scope: &Scope<'s>) -> Result<&'s Json, ExpressionError> {
    const NULL: &Json = &Json::Null;
    let root = &*path[0].name;
    let mut at = scope.root(root).ok_or_else(|| ExpressionError::new(secret::no_variable(root)))?;
    for (depth, segment) in path.iter().enumerate().skip(1) {
        let name = &*segment.name;
        at = match at {
            Json::Object(map) => match map.get(name) {
                Some(found) => found,
                None => {
                    let so_far: Vec<&str> = path[..=depth].iter().map(|s| &*s.name).collect();
                    if !values::may_be_absent(&so_far) {
                        let upper = so_far[..depth].join(".");
                        return Err(ExpressionError::new(format!("there is no `{name}` in `{upper}`")));
                    }
                    NULL
                }
            },
            Json::Null if segment.optional => return Ok(NULL),
            Json::Null => {
                let upper: Vec<&str> = path[..depth].iter().map(|s| &*s.name).collect();
                let upper = upper.join(".");
                return Err(ExpressionError::new(format!("`{upper}` is absent; write `{upper}?.{name}`")));
            }
            _ => {
                let upper: Vec<&str> = path[..depth].iter().map(|s| &*s.name).collect();
                return Err(ExpressionError::new(format!("`{}` has no parts, so no `{name}`", upper.join("."))));
            }
        };
    }
    Ok(at)
}

/// Compiled expressions by their text.
#[derive(Default)]
pub(crate) struct Kept(RwLock<HashMap<Box<str>, Arc<Compiled>>>);

impl Kept {
    /// The one of this text, made if it is not there.
    pub(crate) fn get(
        &self,
        text: &str,
        make: impl FnOnce() -> Result<Compiled, ExpressionError>,
    ) -> Result<Arc<Compiled>, ExpressionError> {
        if let Some(found) = self.0.read().unwrap_or_else(PoisonError::into_inner).get(text) {
            return Ok(Arc::clone(found));
        }
        let made = Arc::new(make()?);
        let mut all = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if all.len() >= MOST {
            all.clear();
        }
        all.insert(text.into(), Arc::clone(&made));
        Ok(made)
    }
}

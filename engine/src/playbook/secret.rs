//! Secrets in the inputs of actions: where one may stand, and what stands there in what is journaled.
//!
//! ```text
//! token: ${{ secrets.ci_token }} ──render──▶ { "secret": "ci_token" } ──▶ plan, records, views
//!                                                  └──── the moment of the act ──▶ its value, to the verb alone
//! ```
//!
//! Owns the places: an action's schema marks them. **Invariant:** a reference comes from `${{ secrets.NAME }}` written in
//! the playbook at such a place, never out of a value; no expression or script has a secret to look at.

use super::check::inputs::{alternatives, resolve};
use super::expression::{ExpressionError, Expressions, Scope};
use super::names;
use super::template;
use quell_model::secret::MARK;
use quell_model::{ActionSpec, Json, Lane, Name, SecretRef};
use serde_json::json;

/// The variable.
pub(crate) const ROOT: &str = "secrets";

/// What to say of a variable that an expression looks for in vain.
pub(crate) fn no_variable(name: &str) -> String {
    match name {
        ROOT => {
            "no expression sees a secret: `${{ secrets.NAME }}` alone is the input of an action that takes one".into()
        }
        _ => format!("there is no `{name}` here"),
    }
}

/// The name in `${{ secrets.NAME }}`, where a text is that and nothing else.
pub(crate) fn named(text: &str) -> Option<&str> {
    let found = names::names(template::whole(text)?);
    let is_plain = found.only_a_path && found.uses[0].root() == ROOT;
    match found.uses.first()?.parts.as_slice() {
        [_, name] if is_plain && !name.optional => Some(name.name),
        _ => None,
    }
}

/// Whether a place in an input takes a secret.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Takes {
    /// It does not.
    No,
    /// A secret, or something else.
    Also,
    /// Nothing else.
    Only,
}

/// What a place makes of secrets, by its schema.
pub(crate) fn takes(schema: &Json, root: &Json) -> Takes {
    let schema = resolve(schema, root);
    if schema.get(MARK) == Some(&Json::Bool(true)) {
        return Takes::Only;
    }
    let is_null = |one: &&Json| resolve(one, root).get("type").and_then(Json::as_str) == Some("null");
    let each = alternatives(schema).into_iter().flatten().filter(|one| !is_null(one)).map(|one| takes(one, root));
    each.reduce(|all, one| if all == one { all } else { Takes::Also }).unwrap_or(Takes::No)
}

/// The schema of what stands under a key, or, without one, of an item.
pub(crate) fn below<'s>(schema: &'s Json, root: &'s Json, key: Option<&str>) -> Option<&'s Json> {
    let schema = resolve(schema, root);
    let own = match key {
        Some(key) => {
            let rest = || schema.get("additionalProperties").filter(|rest| rest.is_object());
            schema.get("properties").and_then(|all| all.get(key)).or_else(rest)
        }
        None => schema.get("items"),
    };
    own.or_else(|| alternatives(schema)?.iter().find_map(|one| below(one, root, key)))
}

/// The input schema of an action that takes a secret; none: it takes none. What only reads is given none.
pub(crate) fn schema_of(spec: &ActionSpec) -> Option<Json> {
    let schema = (spec.lane != Lane::Read).then(|| (spec.input)().to_value())?;
    schema.to_string().contains(MARK).then_some(schema)
}

/// The secrets that the journaled input of an action names.
#[must_use]
pub fn secrets_of(spec: &ActionSpec, input: &Json) -> Vec<Name> {
    schema_of(spec).map(|schema| references(input, &schema)).unwrap_or_default()
}

/// The secrets that an input names, out of its journaled form.
pub(crate) fn references(input: &Json, schema: &Json) -> Vec<Name> {
    let mut found = Vec::new();
    collect(input, schema, schema, &mut found);
    found
}

fn collect(value: &Json, schema: &Json, root: &Json, found: &mut Vec<Name>) {
    if let Some(name) = reference(value).filter(|_| takes(schema, root) != Takes::No) {
        return found.push(name);
    }
    match value {
        Json::Object(map) => {
            for (key, value) in map {
                if let Some(schema) = below(schema, root, Some(key)) {
                    collect(value, schema, root, found);
                }
            }
        }
        Json::Array(list) => {
            if let Some(schema) = below(schema, root, None) {
                list.iter().for_each(|item| collect(item, schema, root, found));
            }
        }
        _ => {}
    }
}

fn reference(value: &Json) -> Option<Name> {
    let map = value.as_object().filter(|map| map.len() == 1)?;
    Some(Name::from(map.get("secret")?.as_str()?))
}

/// Every name that the texts of a template have as a secret.
pub(crate) fn named_in<'t>(template: &'t Json, found: &mut Vec<&'t str>) {
    match template {
        Json::String(text) => found.extend(named(text)),
        Json::Array(list) => list.iter().for_each(|item| named_in(item, found)),
        Json::Object(map) => map.values().for_each(|value| named_in(value, found)),
        Json::Null | Json::Bool(_) | Json::Number(_) => {}
    }
}

impl Expressions {
    /// Fills in the input of an action that takes a secret: at its places references, everywhere else what
    /// [`render`](Self::render) gives.
    pub(crate) fn render_input(
        &self,
        template: &Json,
        schema: &Json,
        scope: &Scope<'_>,
    ) -> Result<Json, ExpressionError> {
        self.input_at(template, Some(schema), schema, scope)
    }

    fn input_at(
        &self,
        template: &Json,
        schema: Option<&Json>,
        root: &Json,
        scope: &Scope<'_>,
    ) -> Result<Json, ExpressionError> {
        let takes = schema.map_or(Takes::No, |schema| takes(schema, root));
        if let Some(name) = template.as_str().and_then(named).filter(|_| takes != Takes::No) {
            return Ok(json!(SecretRef { secret: name.into() }));
        }
        let value = match template {
            Json::Object(map) => {
                let below = |key: &str| schema.and_then(|schema| below(schema, root, Some(key)));
                let pair =
                    |(key, value): (&String, &Json)| Ok((key.clone(), self.input_at(value, below(key), root, scope)?));
                Json::Object(map.iter().map(pair).collect::<Result<_, ExpressionError>>()?)
            }
            Json::Array(list) => {
                let below = schema.and_then(|schema| below(schema, root, None));
                list.iter().map(|item| self.input_at(item, below, root, scope)).collect::<Result<_, _>>()?
            }
            plain => self.render(plain, scope)?,
        };
        // What a value brings is never a reference: whoever writes events would choose the secret.
        let is_forged = match template {
            Json::Object(_) | Json::Array(_) => takes != Takes::No && reference(&value).is_some(),
            _ => schema.is_some_and(|schema| {
                let mut found = Vec::new();
                collect(&value, schema, root, &mut found);
                !found.is_empty()
            }),
        };
        if is_forged || (takes == Takes::Only && !value.is_null()) {
            return Err(ExpressionError::new("only `${{ secrets.NAME }}` gives a secret"));
        }
        Ok(value)
    }
}

#[cfg(test)]
mod tests;

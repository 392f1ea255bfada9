//! What a playbook means: its expressions, its graph, and the checks over it.
//!
//! ```text
//! text ──load──▶ model ──▶ check (mistakes with places)
//!                  │
//!                  ├──▶ expression: `${{ … }}` over event, steps, inputs …   (Rhai in a sandbox, or a plain walk)
//!                  └──▶ graph: order, ancestors, cycles, drawings
//! ```
//!
//! Reads no file and touches nothing of the world. Evaluating is pure: the same scope gives the same value.

pub mod check;
mod compiled;
pub mod expression;
mod functions;
pub(crate) mod gives;
pub mod graph;
mod moment;
pub(crate) mod names;
pub(crate) mod reads;
pub(crate) mod sandbox;
pub(crate) mod secret;
pub(crate) mod template;
mod values;

pub use check::has_errors;
pub use expression::{ExpressionError, Expressions, Scope};
pub use graph::{Fate, Fates, Graph, Picture, graph_text};
pub use secret::secrets_of;
pub(crate) use values::DEEPEST;

//! Time in expressions: moments and spans, with the arithmetic that makes sense of them.
//!
//! `now()` is the run's journaled time, never the clock's. Both print as people write them: RFC 3339 and `15m`.

use crate::load::units;
use jiff::{SignedDuration, Timestamp};
use rhai::{Engine, EvalAltResult, FuncRegistration, Module};
use std::fmt;

/// A moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Moment(pub(crate) Timestamp);

/// A span between two moments.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Span(pub(crate) SignedDuration);

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.0.is_negative() { "-" } else { "" };
        write!(f, "{sign}{}", units::print_duration(self.0.unsigned_abs()))
    }
}

type Fallible<T> = Result<T, Box<EvalAltResult>>;

/// Teaches an engine moments and spans.
pub(crate) fn register(engine: &mut Engine) {
    engine.register_type_with_name::<Moment>("moment").register_type_with_name::<Span>("duration");
    engine
        .register_fn("time", |text: &str| -> Fallible<Moment> {
            text.parse().map(Moment).map_err(|_| format!("`{text}` is no time like 2026-01-31T12:00:00Z").into())
        })
        .register_fn("duration", |text: &str| -> Fallible<Span> {
            let read = units::duration(text).and_then(|span| SignedDuration::try_from(span).ok());
            read.map(Span).ok_or_else(|| format!("`{text}` is no duration like 15m").into())
        })
        .register_get("seconds", |span: &mut Span| span.0.as_secs())
        .register_fn("to_string", |moment: &mut Moment| moment.to_string())
        .register_fn("to_string", |span: &mut Span| span.to_string())
        .register_fn("-", |a: Moment, b: Moment| Span(a.0.duration_since(b.0)))
        .register_fn("-", |a: Moment, b: Span| moved(a, b.0.checked_neg()))
        .register_fn("+", |a: Moment, b: Span| moved(a, Some(b.0)))
        .register_fn("+", |a: &str, b: Moment| format!("{a}{b}"))
        .register_fn("+", |a: &str, b: Span| format!("{a}{b}"));
    let mut orders = Module::new();
    order::<Moment>(&mut orders);
    order::<Span>(&mut orders);
    engine.register_global_module(orders.into());
}

fn moved(moment: Moment, by: Option<SignedDuration>) -> Fallible<Moment> {
    let at = by.and_then(|by| moment.0.checked_add(by).ok());
    at.map(Moment).ok_or_else(|| "the moment lies outside of all calendars".into())
}

fn order<T: Copy + PartialOrd + Send + Sync + 'static>(module: &mut Module) {
    FuncRegistration::new("==").set_into_module(module, |a: T, b: T| a == b);
    FuncRegistration::new("!=").set_into_module(module, |a: T, b: T| a != b);
    FuncRegistration::new("<").set_into_module(module, |a: T, b: T| a < b);
    FuncRegistration::new("<=").set_into_module(module, |a: T, b: T| a <= b);
    FuncRegistration::new(">").set_into_module(module, |a: T, b: T| a > b);
    FuncRegistration::new(">=").set_into_module(module, |a: T, b: T| a >= b);
}

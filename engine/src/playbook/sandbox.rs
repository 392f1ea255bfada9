//! The script engine with its limits: what an expression may cost, and what it cannot reach.
//!
//! No modules, no `eval`, no files, no network, no sleep, no clock. Values of different types do not compare (save with
//! `()`), and a property that does not exist is an error: neither is ever a silent `false`. Whoever runs a script binds
//! its time with [`bind`]; the engine itself is shared between threads.

use super::{functions, moment, secret};
use jiff::Timestamp;
use quell_model::People;
use quell_model::people::System;
use rhai::{Dynamic, Engine, EvalAltResult, FnPtr, OptimizationLevel, Position};
use rustix::time::{ClockId, clock_gettime};
use std::cell::{Cell, RefCell};
use std::cmp::Ordering;
use std::sync::Arc;
use std::time::Duration;

/// Steps of the interpreter that one evaluation may take: a hundred times what shipped playbooks use.
pub(crate) const MOST_OPERATIONS: u64 = 50_000;
/// How deep calls may go.
pub(crate) const MOST_CALLS: usize = 16;
/// Bytes of a string, and of all strings in a list or map: an argument of a process has 128 KiB at most, and no strange
/// name may be too long to be asked about.
pub(crate) const LONGEST_STRING: usize = 256 * 1024;
/// Items of a list, for the same reason.
pub(crate) const LONGEST_LIST: usize = 100_000;
/// Entries of a map.
pub(crate) const LARGEST_MAP: usize = 10_000;
/// How deep an expression may nest; inside functions the same.
const DEEPEST: usize = 64;
/// Variables and functions of one script.
const MOST_NAMES: usize = 128;
/// Time on the processor that one evaluation may take. Not wall time: a script waits for nothing, and a busy machine must
/// not switch a playbook off.
pub(crate) const LONGEST: Duration = Duration::from_millis(100);
/// What to write in the place of a `switch`, which no script has.
pub(crate) const NO_SWITCH: &str = "`if` and `else`: `switch` is silent about values of another type";
/// What one evaluation may take.
const EVALUATING: Limits = Limits { operations: MOST_OPERATIONS, time: LONGEST };
/// What a script may take that builds a playbook, once, when it is read: a thousand steps and what they are made of.
pub(crate) const BUILDING: Limits = Limits { operations: 200_000, time: Duration::from_secs(2) };
/// The clock is asked at each so many-th operation or comparison.
const ASKED_EVERY: u32 = 64;

/// Operations, and time on the processor.
#[derive(Clone, Copy)]
pub(crate) struct Limits {
    /// Steps of the interpreter.
    pub(crate) operations: u64,
    /// Not wall time: see [`LONGEST`].
    pub(crate) time: Duration,
}

#[derive(Clone, Copy)]
struct Bound {
    limits: Limits,
    until: Duration,
    /// None where the same text must always give the same.
    now: Option<Timestamp>,
}

thread_local! {
    static BOUND: Cell<Option<Bound>> = const { Cell::new(None) };
    static CALLS: Cell<u32> = const { Cell::new(0) };
    static PEOPLE: RefCell<Option<Arc<People>>> = const { RefCell::new(None) };
}

/// Binds what this thread evaluates until it is dropped to a time budget, a `now()` and the people that `person_of` knows.
pub(crate) struct Binding(Option<Bound>, Option<Arc<People>>);

/// Starts the budget. `now` and `people` are what scripts see.
pub(crate) fn bind(now: Timestamp, people: Option<&Arc<People>>) -> Binding {
    begin(EVALUATING, Some(now), people.cloned())
}

/// Starts the budget of a script that builds a playbook. It sees no time, and nobody.
pub(crate) fn bind_building() -> Binding {
    begin(BUILDING, None, None)
}

fn begin(limits: Limits, now: Option<Timestamp>, people: Option<Arc<People>>) -> Binding {
    Binding(BOUND.replace(Some(Bound { limits, until: spent() + limits.time, now })), PEOPLE.replace(people))
}

impl Drop for Binding {
    fn drop(&mut self) {
        BOUND.set(self.0);
        PEOPLE.set(self.1.take());
    }
}

/// What this thread has had of the processor: bounds a runaway script, is no time that a script or record could see.
fn spent() -> Duration {
    let used = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(u64::try_from(used.tv_sec).unwrap_or(0), u32::try_from(used.tv_nsec).unwrap_or(0))
}

/// Whether the budget is used up; the clock is asked at each so many-th call.
fn is_over() -> bool {
    let calls = CALLS.get().wrapping_add(1);
    CALLS.set(calls);
    calls.is_multiple_of(ASKED_EVERY) && BOUND.get().is_some_and(|bound| spent() > bound.until)
}

/// What a function asks that takes long by itself: to the engine it is one operation.
pub(crate) fn in_time() -> Fallible<()> {
    match BOUND.get().is_some_and(|bound| spent() > bound.until) {
        true => Err(EvalAltResult::ErrorTerminated(Dynamic::UNIT, Position::NONE).into()),
        false => Ok(()),
    }
}

fn over_time(_operations: u64) -> Option<Dynamic> {
    is_over().then_some(Dynamic::UNIT)
}

type Fallible<T> = Result<T, Box<EvalAltResult>>;

/// Of the language's own hashes: `quell`, in ASCII.
const SEED: [u64; 4] = [0x71, 0x75_65, 0x6c, 0x6c];

/// A new engine with every limit set.
pub(crate) fn engine() -> Engine {
    // Names of functions without one are hashes: by a seed of the process's own a script could toss a coin.
    let _same_or_set_before = rhai::config::hashing::set_hashing_seed(Some(SEED));
    let mut engine = Engine::new();
    engine
        .set_max_operations(MOST_OPERATIONS)
        .set_max_call_levels(MOST_CALLS)
        .set_max_string_size(LONGEST_STRING)
        .set_max_array_size(LONGEST_LIST)
        .set_max_map_size(LARGEST_MAP)
        .set_max_expr_depths(DEEPEST, DEEPEST)
        .set_max_variables(MOST_NAMES)
        .set_max_functions(MOST_NAMES)
        .set_fail_on_invalid_map_property(true)
        // Both would answer `0 == "0"` with false before the comparisons below are asked.
        .set_fast_operators(false)
        .set_optimization_level(OptimizationLevel::None)
        .disable_symbol("eval")
        // Each call doubles what a function holds, which no limit counts.
        .disable_symbol("curry")
        // It compares by hashes: of a value of another type it is silently `()`, where `==` would be an error.
        .disable_symbol("switch")
        .on_print(|_| {})
        .on_debug(|_, _, _| {})
        .on_progress(over_time);
    engine
        .register_fn("now", || -> Fallible<moment::Moment> {
            BOUND.get().and_then(|bound| bound.now).map(moment::Moment).ok_or_else(|| "there is no time here".into())
        })
        .register_get("name", |_: &mut FnPtr| "a function")
        .register_fn("name", |_: &mut FnPtr| "a function")
        .register_fn("to_string", |_: &mut FnPtr| "a function")
        .register_fn("to_debug", |_: &mut FnPtr| "a function")
        .register_fn("exit", || -> Fallible<()> { Err("`exit` has no place here".into()) })
        .register_fn("exit", |_: Dynamic| -> Fallible<()> { Err("`exit` has no place here".into()) })
        .register_fn("sleep", |_: i64| -> Fallible<()> { Err("an expression cannot sleep".into()) })
        .register_fn("sleep", |_: f64| -> Fallible<()> { Err("an expression cannot sleep".into()) });
    functions::register(&mut engine);
    moment::register(&mut engine);
    people(&mut engine);
    strict_comparisons(&mut engine);
    engine
}

/// `person_of`: whose identity something is, in one system or in any.
fn people(engine: &mut Engine) {
    engine
        .register_fn("person_of", |identity: &str| {
            known(|people| people.who_anywhere(identity).map(ToString::to_string))
        })
        .register_fn("person_of", |number: i64| {
            known(|people| people.who(System::Unix, &number.to_string()).map(ToString::to_string))
        })
        .register_fn("person_of", |_: ()| ())
        .register_fn("person_of", |system: &str, identity: &str| person_in(system, identity))
        .register_fn("person_of", |system: &str, number: i64| person_in(system, &number.to_string()))
        .register_fn("person_of", |_: &str, _: ()| ());
}

fn person_in(system: &str, identity: &str) -> Fallible<Dynamic> {
    let Some((_, system)) = System::ALL.iter().find(|(word, _)| *word == system) else {
        let words: Vec<&str> = System::ALL.iter().map(|(word, _)| *word).collect();
        return Err(format!("`{system}` is no system of identities: {}", words.join(", ")).into());
    };
    Ok(known(|people| people.who(*system, identity).map(ToString::to_string)))
}

/// A person's name, or `()` where nobody is known by that.
fn known(find: impl FnOnce(&People) -> Option<String>) -> Dynamic {
    PEOPLE.with_borrow(|people| people.as_deref().and_then(find)).map_or(Dynamic::UNIT, Dynamic::from)
}

/// Comparing what cannot be equal is a mistake and no `false`; `()` may be compared with anything.
fn strict_comparisons(engine: &mut Engine) {
    engine
        .register_fn("==", |a: Dynamic, b: Dynamic| equal(&a, &b))
        .register_fn("!=", |a: Dynamic, b: Dynamic| equal(&a, &b).map(|same| !same))
        .register_fn("<", |a: Dynamic, b: Dynamic| order("<", &a, &b).map(Ordering::is_lt))
        .register_fn("<=", |a: Dynamic, b: Dynamic| order("<=", &a, &b).map(Ordering::is_le))
        .register_fn(">", |a: Dynamic, b: Dynamic| order(">", &a, &b).map(Ordering::is_gt))
        .register_fn(">=", |a: Dynamic, b: Dynamic| order(">=", &a, &b).map(Ordering::is_ge));
}

fn equal(a: &Dynamic, b: &Dynamic) -> Fallible<bool> {
    // A search through a list is one operation with many comparisons.
    if is_over() {
        return Err(EvalAltResult::ErrorTerminated(Dynamic::UNIT, Position::NONE).into());
    }
    match (a.is_unit(), b.is_unit()) {
        (true, true) => return Ok(true),
        (true, false) | (false, true) => return Ok(false),
        _ => {}
    }
    if let (Ok(a), Ok(b)) = (a.as_bool(), b.as_bool()) {
        return Ok(a == b);
    }
    compare(a, b)
        .map(|order| order == Some(Ordering::Equal))
        .ok_or_else(|| format!("{} and {} cannot be compared", kind(a), kind(b)).into())
}

fn order(sign: &str, a: &Dynamic, b: &Dynamic) -> Fallible<Ordering> {
    let none = || format!("`{sign}` between {} and {} has no answer", kind(a), kind(b)).into();
    compare(a, b).flatten().ok_or_else(none)
}

/// The order of two numbers or two texts; none for other pairs.
fn compare(a: &Dynamic, b: &Dynamic) -> Option<Option<Ordering>> {
    if let (Ok(a), Ok(b)) = (a.as_int(), b.as_int()) {
        return Some(Some(a.cmp(&b)));
    }
    let number = |value: &Dynamic| value.as_float().or_else(|_| value.as_int().map(|n| n as f64)).ok();
    if let (Some(a), Some(b)) = (number(a), number(b)) {
        return Some(a.partial_cmp(&b));
    }
    if let (Ok(a), Ok(b)) = (a.as_immutable_string_ref(), b.as_immutable_string_ref()) {
        return Some(Some(a.as_str().cmp(b.as_str())));
    }
    let text = |value: &Dynamic| value.as_char().map(String::from).or_else(|_| value.clone().into_string()).ok();
    Some(Some(text(a)?.cmp(&text(b)?)))
}

/// A moment or a span, as people write it.
pub(crate) fn time(value: &Dynamic) -> Option<String> {
    let moment = || value.read_lock::<moment::Moment>().map(|moment| moment.to_string());
    moment().or_else(|| value.read_lock::<moment::Span>().map(|span| span.to_string()))
}

/// The word for a value's type.
pub(crate) fn kind(value: &Dynamic) -> &'static str {
    if value.is_unit() {
        "`()`"
    } else if value.is_string() {
        "text"
    } else if value.is_int() {
        "a whole number"
    } else if value.is_float() {
        "a number"
    } else if value.is_bool() {
        "true or false"
    } else if value.is_array() {
        "a list"
    } else if value.is_map() {
        "a map"
    } else if value.is_char() {
        "a character"
    } else if value.is::<moment::Moment>() {
        "a moment"
    } else if value.is::<moment::Span>() {
        "a duration"
    } else {
        "something else"
    }
}

/// What went wrong, in words for who wrote the expression; with the line and column in its text.
pub(crate) fn explain(error: &EvalAltResult) -> (String, Position) {
    use EvalAltResult as E;
    let place = error.position();
    let limits = BOUND.get().map_or(EVALUATING, |bound| bound.limits);
    let what = match error {
        E::ErrorInFunctionCall(_, _, inner, _) => return inside(inner, place),
        E::ErrorTooManyOperations(_) => format!("it takes more than {} operations", limits.operations),
        E::ErrorStackOverflow(_) => format!("its calls go deeper than {MOST_CALLS}"),
        E::ErrorTerminated(..) => format!("it runs longer than {} ms", limits.time.as_millis()),
        E::ErrorDataTooLarge(which, _) => format!("a value grew too large ({})", which.to_lowercase()),
        E::ErrorVariableNotFound(name, _) => secret::no_variable(name),
        E::ErrorPropertyNotFound(name, _) => format!("there is no `{name}` in that map"),
        E::ErrorDotExpr(what, _) => match what.contains("'()'") {
            true => format!("what stands before `.{}` is absent; `?.` walks through what may be", property(what)),
            false => format!("the value has no `{}`", property(what)),
        },
        E::ErrorFunctionNotFound(signature, _) if signature.contains("()") && !signature.ends_with("()") => {
            format!("`{signature}` was asked of something that is absent")
        }
        E::ErrorFunctionNotFound(signature, _) => format!("there is no function `{}`", signature.replace(" | ", ", ")),
        E::ErrorParsing(kind, _) => kind.to_string(),
        E::ErrorRuntime(value, _) if value.is_string() => value.to_string(),
        E::Exit(..) => "`exit` has no place here".to_owned(),
        other => {
            let text = other.to_string();
            text.rsplit_once(" (line ").map_or(text.clone(), |(head, _)| head.to_owned())
        }
    };
    (what, place)
}

fn inside(error: &EvalAltResult, outer: Position) -> (String, Position) {
    let (what, place) = explain(error);
    (what, if place.is_none() { outer } else { place })
}

/// The property that an error of the engine names.
fn property(what: &str) -> &str {
    what.split('\'').nth(1).unwrap_or("x")
}

//! A set of rules, compiled and immutable, in a class for each logsource that rules name.
//!
//! Owns the way from files to engines. A rule is known throughout by the one name that playbooks use; rsigma is given
//! that name as the rule's id, so that every result leads back to its rule even where files repeat an id.
//!
//! Loading never stops at a mistake: what can be used is, and the report has the rest. Rules of every status are
//! loaded (`deprecated` and `unsupported` too) and counted by it; a rule without a level is `medium`.

use super::exception::Exception;
use super::files::RuleSource;
use super::gate::Gate;
use super::loading;
use super::report::RuleReport;
use super::{auditd, coverage};
use quell_model::{Class, LogSource, Name, RuleRef};
use rsigma_eval::result::MatchDetailLevel;
use rsigma_eval::{CompiledRule, Engine, EvaluationResult, evaluate_rule};
use rsigma_parser::CorrelationRule;
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// The rules of one logsource. The gate names the few that an event can match; an engine of its own for each rule makes
/// the result without looking at the others.
pub(super) struct ClassEngine {
    pub(super) logsource: rsigma_parser::LogSource,
    engines: Vec<Engine>,
    pub(super) gate: Gate,
}

impl ClassEngine {
    pub(super) fn new(logsource: rsigma_parser::LogSource) -> Self {
        Self { logsource, engines: Vec::new(), gate: Gate::default() }
    }

    /// Takes all its rules.
    pub(super) fn fill(&mut self, rules: Vec<CompiledRule>) {
        self.gate = Gate::new(&rules);
        let engine = |rule| {
            let mut engine = Engine::new();
            engine.set_match_detail(MatchDetailLevel::Summary);
            engine.add_compiled_rule(rule);
            engine
        };
        self.engines = rules.into_iter().map(engine).collect();
    }

    /// In the order of the gate's numbers.
    pub(super) fn rules(&self) -> impl ExactSizeIterator<Item = &CompiledRule> {
        self.engines.iter().map(|engine| &engine.rules()[0])
    }

    /// Asks one rule, by its place.
    pub(super) fn ask(&self, rule: u32, event: &impl rsigma_eval::Event) -> Vec<EvaluationResult> {
        let engine = &self.engines[rule as usize];
        // Mostly it does not match, and this finds that out at less cost.
        if evaluate_rule(&engine.rules()[0], event).is_none() {
            return Vec::new();
        }
        engine.evaluate(event)
    }
}

/// What the detector knows of a rule.
pub(super) struct Rule {
    pub(super) reference: RuleRef,
    /// What it is about; a correlation has none of its own.
    pub(super) logsource: Option<rsigma_parser::LogSource>,
    /// The exceptions that are about it.
    pub(super) exceptions: Vec<usize>,
    /// Correlations count its matches.
    pub(super) counted: bool,
    /// It makes no detection of its own.
    pub(super) only_counts: bool,
    /// It says itself which operations on files it is about.
    pub(super) asks_operation: bool,
}

/// A compiled set of rules.
#[derive(Default)]
pub struct Rules {
    pub(super) rules: HashMap<String, Rule>,
    pub(super) refs: Vec<RuleRef>,
    pub(super) classes: Vec<ClassEngine>,
    pub(super) correlations: Vec<CorrelationRule>,
    pub(super) exceptions: Vec<Exception>,
    pub(super) keys: auditd::Keys,
}

impl Rules {
    /// Loads rules and exceptions. Exceptions may stand among the rules; an exceptions source may hold nothing else.
    #[must_use]
    pub fn load(sources: &[RuleSource], exceptions: &[RuleSource]) -> (Self, RuleReport) {
        loading::load(sources, exceptions)
    }

    /// How playbooks can call the rules, in the order of loading.
    pub fn refs(&self) -> impl Iterator<Item = &RuleRef> {
        self.refs.iter()
    }

    /// The classes of the events that each rule can match, by its name. Of a correlation, and of a rule that names no
    /// category, nobody knows; one that only counts for a correlation starts nothing, and is not asked about.
    #[must_use]
    pub fn brings(&self) -> BTreeMap<Name, BTreeSet<Class>> {
        let of = |rule: &Rule| Some((rule.reference.name.clone(), coverage::classes(rule.logsource.as_ref()?)?));
        self.rules
            .values()
            .filter(|rule| !rule.only_counts)
            .filter_map(of)
            .filter(|(_, classes)| !classes.is_empty())
            .collect()
    }

    /// How many rules are in force, correlations included.
    #[must_use]
    pub fn len(&self) -> usize {
        self.refs.len()
    }

    /// Whether no rule is in force.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.refs.is_empty()
    }

    /// The classes whose rules can match such events; where the event's source is not known, all.
    pub(super) fn route(&self, event: &LogSource, unknown: bool) -> Vec<usize> {
        let part = |rule: &Option<String>, event: &Option<Name>| match (rule, event) {
            (None, _) => true,
            (Some(rule), Some(event)) => rule.eq_ignore_ascii_case(event.as_str()),
            (Some(_), None) => false,
        };
        let fits = |class: &ClassEngine| {
            let rule = &class.logsource;
            part(&rule.category, &event.category)
                && part(&rule.product, &event.product)
                && part(&rule.service, &event.service)
        };
        (0..self.classes.len()).filter(|at| unknown || fits(&self.classes[*at])).collect()
    }

    /// The classes of a further category of the sensor's own events.
    pub(super) fn of_category(&self, category: &str) -> Vec<usize> {
        let is = |part: &Option<String>, word: &str| part.as_ref().is_some_and(|part| part.eq_ignore_ascii_case(word));
        let wanted = |class: &ClassEngine| {
            is(&class.logsource.category, category)
                && class.logsource.service.is_none()
                && (class.logsource.product.is_none() || is(&class.logsource.product, "linux"))
        };
        (0..self.classes.len()).filter(|at| wanted(&self.classes[*at])).collect()
    }

    /// The classes of auditd's own rules: what the sensor's events are offered to in auditd's clothes.
    pub(super) fn auditd(&self) -> Vec<usize> {
        let is = |part: &Option<String>, word: &str| part.as_ref().is_some_and(|part| part.eq_ignore_ascii_case(word));
        let wanted = |class: &ClassEngine| {
            is(&class.logsource.service, "auditd")
                && class.logsource.category.is_none()
                && (class.logsource.product.is_none() || is(&class.logsource.product, "linux"))
        };
        (0..self.classes.len()).filter(|at| wanted(&self.classes[*at])).collect()
    }
}

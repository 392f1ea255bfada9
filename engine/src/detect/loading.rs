//! One load: documents → a set of rules, and the report on it.
//!
//! Owns the names (a rule is known by one, told apart where files repeat it), what replaces what, which rule a
//! correlation or an exception means, and the refusal of correlations that count themselves.

use super::correlate::GROUP_ENTRIES;
use super::coverage::{self, Given};
use super::exception::Exception;
use super::files::{RuleSource, collect};
use super::keywords;
use super::read::{Read, read};
use super::report::{RuleLine, RuleReport};
use super::rules::{ClassEngine, Rule, Rules};
use quell_model::{Level, Mistake, MistakeLevel, Name, RuleRef};
use rsigma_eval::CompiledRule;
use rsigma_parser::{
    ConditionExpr, ConditionOperator, CorrelationCondition, CorrelationRule, CorrelationType, SigmaDocument, SigmaRule,
    Status,
};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

/// Loads all that can be used.
pub(super) fn load(sources: &[RuleSource], exceptions: &[RuleSource]) -> (Rules, RuleReport) {
    let mut loading = Loading::default();
    for file in collect(sources, &mut loading.report.skipped) {
        loading.report.files += 1;
        read(&file, &mut loading.documents, &mut loading.report.skipped, &mut loading.report.passed_over);
    }
    let mut held = Vec::new();
    for file in collect(exceptions, &mut loading.report.skipped) {
        loading.report.files += 1;
        read(&file, &mut held, &mut loading.report.skipped, &mut loading.report.passed_over);
    }
    for document in held {
        if matches!(document.what, SigmaDocument::Filter(_)) {
            loading.documents.push(document);
        } else {
            let what = "is no exception: a rule stands with the rules";
            let mistake = document.mistake(MistakeLevel::Error, document.marked.start(), what);
            loading.report.skipped.push(mistake.expected("a Sigma filter with owner, reason and expires"));
        }
    }
    loading.finish()
}

/// The state of one load.
#[derive(Default)]
struct Loading {
    documents: Vec<Read>,
    report: RuleReport,
    rules: Rules,
    /// Every name that correlations and exceptions may use → the rule's one name. The first that was written holds.
    names: HashMap<String, String>,
    /// The one name → all its names, and its logsource; a correlation has none.
    also: Vec<(String, HashSet<String>, Option<rsigma_parser::LogSource>)>,
    taken: HashMap<String, usize>,
    /// The rules of each class; its engine gets them all at once, because it builds its index each time.
    compiled: Vec<Vec<CompiledRule>>,
}

impl Loading {
    fn finish(mut self) -> (Rules, RuleReport) {
        let documents = std::mem::take(&mut self.documents);
        let replaced = self.replaced(&documents);
        let mut correlations = Vec::new();
        let mut filters = Vec::new();
        for (at, document) in documents.iter().enumerate() {
            match &document.what {
                SigmaDocument::Rule(_) | SigmaDocument::Correlation(_) if replaced.contains(&at) => {}
                SigmaDocument::Rule(rule) => self.rule(document, rule),
                SigmaDocument::Correlation(rule) => {
                    let name = self.name(document, rule.name.as_deref(), rule.id.as_deref());
                    let all = self.known_as(&name, rule.name.as_deref(), rule.id.as_deref(), &rule.title);
                    self.also.push((name.clone(), all, None));
                    correlations.push((document, name, rule));
                }
                SigmaDocument::Filter(filter) => filters.push((document, filter)),
            }
        }
        for (class, compiled) in self.rules.classes.iter_mut().zip(std::mem::take(&mut self.compiled)) {
            class.fill(compiled);
        }
        self.rules.classes.retain(|class| class.rules().len() > 0);
        self.correlations(correlations);
        for (document, filter) in filters {
            if let Some(exception) = Exception::compile(document, filter, &mut self.report.skipped) {
                self.exception(document, exception);
            }
        }
        for line in &mut self.report.rules {
            line.only_counts = self.rules.rules.get(line.id.as_str()).is_some_and(|rule| rule.only_counts);
        }
        (self.rules, self.report)
    }

    /// Documents that a later source replaces: same `id`, or same name.
    fn replaced(&mut self, documents: &[Read]) -> HashSet<usize> {
        let mut last: HashMap<String, usize> = HashMap::new();
        let mut replaced = HashSet::new();
        for (at, document) in documents.iter().enumerate() {
            for key in keys(document) {
                if let Some(before) = last.insert(key.clone(), at)
                    && documents[before].source != document.source
                {
                    replaced.insert(before);
                    let by = Mistake::error(&document.file, document.marked.start(), "").place();
                    let old = &documents[before];
                    let what = format!("the rule `{key}` is replaced by the one in {by}");
                    self.report.skipped.push(old.mistake(MistakeLevel::Note, old.marked.start(), what));
                }
            }
        }
        replaced
    }

    /// The one name of a rule; a repeated one gets a number, because detections are told apart by it.
    fn name(&mut self, document: &Read, name: Option<&str>, id: Option<&str>) -> String {
        let wanted = name.or(id).unwrap_or(&document.stem).to_owned();
        let given = loop {
            let count = self.taken.entry(wanted.clone()).or_insert(0);
            *count += 1;
            if *count == 1 {
                return wanted;
            }
            let given = format!("{wanted}#{count}");
            // Somebody may have written just that.
            if *self.taken.entry(given.clone()).and_modify(|count| *count += 1).or_insert(1) == 1 {
                break given;
            }
        };
        let span = document.marked.text(&[if name.is_some() { "name" } else { "id" }]).map(|(_, span)| span);
        let what = format!("another rule is already called `{wanted}`: this one goes by `{given}`");
        let span = span.unwrap_or_else(|| document.marked.start());
        self.report.skipped.push(document.mistake(MistakeLevel::Warning, span, what));
        given
    }

    /// Gives a name back that a rule took which then could not be used.
    fn forget(&mut self, name: &str, wanted: &str) {
        if let Some(count) = self.taken.get_mut(wanted) {
            *count -= 1;
        }
        if name != wanted {
            self.taken.remove(name);
        }
    }

    fn known_as(&mut self, one: &str, name: Option<&str>, id: Option<&str>, title: &str) -> HashSet<String> {
        let all: HashSet<String> =
            [Some(one), name, id, Some(title)].into_iter().flatten().map(str::to_owned).collect();
        for name in &all {
            self.names.entry(name.clone()).or_insert_with(|| one.to_owned());
        }
        all
    }

    fn rule(&mut self, document: &Read, rule: &SigmaRule) {
        let name = self.name(document, rule.name.as_deref(), rule.id.as_deref());
        let mut named = rule.clone();
        named.id = Some(name.clone());
        named.name = None;
        keywords::unbind(&mut named.detection);
        // The definition differs from rule to rule and routes nothing.
        let logsource = rsigma_parser::LogSource { definition: None, custom: HashMap::new(), ..rule.logsource.clone() };
        named.logsource = logsource.clone();
        let class = match self.rules.classes.iter().position(|class| class.logsource == logsource) {
            Some(at) => at,
            None => {
                self.rules.classes.push(ClassEngine::new(logsource.clone()));
                self.compiled.push(Vec::new());
                self.rules.classes.len() - 1
            }
        };
        match rsigma_eval::compile_rule(&named) {
            Ok(compiled) => self.compiled[class].push(compiled),
            Err(error) => {
                self.report.skipped.push(document.placed(MistakeLevel::Error, &error.to_string()));
                self.forget(&name, rule.name.as_deref().or(rule.id.as_deref()).unwrap_or(&document.stem));
                return;
            }
        }
        if let Some(definition) = rule.logsource.definition.as_deref() {
            self.rules.keys.learn(definition);
        }
        let all = self.known_as(&name, rule.name.as_deref(), rule.id.as_deref(), &rule.title);
        self.also.push((name.clone(), all, Some(logsource.clone())));
        let reference = reference(&name, rule.id.as_deref(), &rule.title, rule.level, &rule.tags);
        let fields = coverage::fields_of(&rule.detection);
        self.report.add(RuleLine {
            id: reference.name.clone(),
            title: rule.title.clone(),
            status: status(rule.status),
            level: reference.level,
            logsource: coverage::describe(&rule.logsource),
            file: document.file.clone(),
            line: document.marked.start().line,
            fields: fields.iter().cloned().collect(),
            given: coverage::given(rule),
            only_counts: false,
        });
        self.put(reference, Some(logsource), fields.contains("file.operation"));
    }

    fn put(&mut self, reference: RuleRef, logsource: Option<rsigma_parser::LogSource>, asks_operation: bool) {
        self.rules.refs.push(reference.clone());
        let (counted, only_counts) = (false, false);
        let rule = Rule { reference, logsource, exceptions: Vec::new(), counted, only_counts, asks_operation };
        self.rules.rules.insert(rule.reference.name.as_str().to_owned(), rule);
    }

    fn correlations(&mut self, written: Vec<(&Read, String, &CorrelationRule)>) {
        let mut good: Vec<(&Read, CorrelationRule)> = Vec::new();
        for (document, name, rule) in written {
            let mut ours = rule.clone();
            let mut ok = true;
            // Without a condition, temporal rules want every one of theirs (rsigma is content with any).
            if let CorrelationCondition::Threshold { predicates, .. } = &mut ours.condition
                && document.marked.key(&["correlation", "condition"]).is_none()
            {
                *predicates = vec![(ConditionOperator::Gte, ours.rules.len() as u64)];
            }
            for referred in &mut ours.rules {
                match self.names.get(referred.as_str()) {
                    Some(one) => *referred = one.clone(),
                    None => {
                        let error = format!("unknown rule reference: {referred}");
                        let near = self.names.keys().map(String::as_str);
                        let mistake = document.placed(MistakeLevel::Error, &error);
                        self.report
                            .skipped
                            .push(mistake.nearest(referred, near).expected("a loaded rule's name or id"));
                        ok = false;
                    }
                }
            }
            let renamed = |from: &str| self.names.get(from).cloned().unwrap_or_else(|| from.to_owned());
            for alias in &mut ours.aliases {
                alias.mapping = alias.mapping.drain().map(|(from, field)| (renamed(&from), field)).collect();
            }
            if let CorrelationCondition::Extended(condition) = &mut ours.condition {
                rename(condition, &renamed);
            }
            ours.id = Some(name);
            ours.name = None;
            self.reachable(document, &ours);
            if ok && let Err(error) = rsigma_eval::correlation::compile_correlation(&ours) {
                self.report.skipped.push(document.placed(MistakeLevel::Error, &error.to_string()));
                ok = false;
            }
            if ok {
                good.push((document, ours));
            }
        }
        self.without_rings(&mut good);
        for (document, rule) in good {
            let name = rule.id.clone().unwrap_or_default();
            let reference = reference(&name, None, &rule.title, rule.level, &rule.tags);
            let mut fields: Vec<String> = rule.group_by.clone();
            if let CorrelationCondition::Threshold { field: Some(counted), .. } = &rule.condition {
                fields.extend(counted.iter().cloned());
            }
            self.report.add(RuleLine {
                id: reference.name.clone(),
                title: rule.title.clone(),
                status: status(rule.status),
                level: reference.level,
                logsource: format!("correlation {}", rule.correlation_type.as_str()),
                file: document.file.clone(),
                line: document.marked.start().line,
                fields,
                given: Given::Rules,
                only_counts: false,
            });
            self.put(reference, None, false);
            self.rules.correlations.push(rule);
        }
        let all = &self.rules.correlations;
        let shown: HashSet<&String> = all.iter().filter(|rule| rule.generate).flat_map(|rule| &rule.rules).collect();
        for referred in all.iter().flat_map(|rule| &rule.rules) {
            if let Some(rule) = self.rules.rules.get_mut(referred) {
                rule.counted = true;
                rule.only_counts = !shown.contains(referred);
            }
        }
    }

    /// Warns of a threshold that the bounded state never reaches.
    fn reachable(&mut self, document: &Read, rule: &CorrelationRule) {
        let CorrelationCondition::Threshold { predicates, .. } = &rule.condition else { return };
        let most = GROUP_ENTRIES as u64;
        let above = |(operator, number): &(ConditionOperator, u64)| match operator {
            ConditionOperator::Gt => *number >= most,
            ConditionOperator::Gte | ConditionOperator::Eq => *number > most,
            _ => false,
        };
        let counts = matches!(rule.correlation_type, CorrelationType::EventCount | CorrelationType::ValueCount);
        if counts && predicates.iter().any(above) {
            let span = document.marked.key(&["correlation", "condition"]).unwrap_or_else(|| document.marked.start());
            let what = format!("never fires: at most {most} matches are counted at a time");
            self.report.skipped.push(document.mistake(MistakeLevel::Warning, span, what));
        }
    }

    /// Drops correlations that count themselves, through others or not.
    fn without_rings(&mut self, good: &mut Vec<(&Read, CorrelationRule)>) {
        loop {
            let leads: HashMap<&str, &[String]> =
                good.iter().map(|(_, rule)| (rule.id.as_deref().unwrap_or_default(), rule.rules.as_slice())).collect();
            let in_ring = good.iter().position(|(_, rule)| {
                let start = rule.id.as_deref().unwrap_or_default();
                let mut seen = HashSet::new();
                let mut left: Vec<&str> = rule.rules.iter().map(String::as_str).collect();
                while let Some(next) = left.pop() {
                    if next == start {
                        return true;
                    }
                    if seen.insert(next) {
                        left.extend(leads.get(next).into_iter().flat_map(|rules| rules.iter().map(String::as_str)));
                    }
                }
                false
            });
            let Some(at) = in_ring else { return };
            let (document, _) = good.remove(at);
            self.report.skipped.push(document.placed(MistakeLevel::Error, "the correlation counts itself"));
        }
    }

    fn exception(&mut self, document: &Read, mut exception: Exception) {
        let at = self.rules.exceptions.len();
        for (name, all, logsource) in &self.also {
            let all: HashSet<&str> = all.iter().map(String::as_str).collect();
            if exception.is_about(&all, logsource.as_ref())
                && let Some(rule) = self.rules.rules.get_mut(name)
            {
                rule.exceptions.push(at);
                exception.info.rules.push(rule.reference.name.clone());
            }
        }
        for wanted in exception.targets() {
            if !self.names.contains_key(wanted.as_str()) {
                let what = format!("the exception is about `{wanted}`, and no such rule is loaded");
                let near = self.names.keys().map(String::as_str);
                let span = document.marked.key(&["filter", "rules"]).unwrap_or_else(|| document.marked.start());
                let mistake = document.mistake(MistakeLevel::Warning, span, what).nearest(wanted, near);
                self.report.skipped.push(mistake);
            }
        }
        self.report.exceptions.push(exception.info.clone());
        self.rules.exceptions.push(exception);
    }
}

/// What a later source's rule is compared by.
fn keys(document: &Read) -> Vec<String> {
    let (name, id) = match &document.what {
        SigmaDocument::Rule(rule) => (&rule.name, &rule.id),
        SigmaDocument::Correlation(rule) => (&rule.name, &rule.id),
        SigmaDocument::Filter(_) => return Vec::new(),
    };
    [name, id].into_iter().flatten().cloned().collect()
}

fn reference(
    name: &str,
    id: Option<&str>,
    title: &str,
    level: Option<rsigma_parser::Level>,
    tags: &[String],
) -> RuleRef {
    RuleRef {
        name: name.into(),
        id: id.map(Name::from),
        title: Arc::from(title),
        level: match level {
            Some(rsigma_parser::Level::Informational) => Level::Informational,
            Some(rsigma_parser::Level::Low) => Level::Low,
            Some(rsigma_parser::Level::Medium) | None => Level::Medium,
            Some(rsigma_parser::Level::High) => Level::High,
            Some(rsigma_parser::Level::Critical) => Level::Critical,
        },
        tags: tags.iter().map(|tag| Name::from(tag.as_str())).collect(),
    }
}

fn status(status: Option<Status>) -> &'static str {
    match status {
        Some(Status::Stable) => "stable",
        Some(Status::Test) => "test",
        Some(Status::Experimental) => "experimental",
        Some(Status::Deprecated) => "deprecated",
        Some(Status::Unsupported) => "unsupported",
        None => "none",
    }
}

fn rename(condition: &mut ConditionExpr, renamed: &dyn Fn(&str) -> String) {
    match condition {
        ConditionExpr::And(parts) | ConditionExpr::Or(parts) => parts.iter_mut().for_each(|part| rename(part, renamed)),
        ConditionExpr::Not(part) => rename(part, renamed),
        ConditionExpr::Identifier(name) => *name = renamed(name),
        ConditionExpr::Selector { .. } => {}
    }
}

//! People: are the approvers and persons that a playbook asks in escalation.yaml, and the policies by which it escalates.
//!
//! A question to approvers that nobody has written down would be answered by nobody in the night that it is asked.

use crate::escalation::DEFAULT;
use crate::load::Known;
use crate::load::escalate::EscalatePlaces;
use crate::load::playbook::Draft;
use crate::load::question::WAYS;
use crate::load::reader::Reader;
use crate::load::yaml::Place;
use quell_model::playbook::{Escalate, StepKind};
use quell_model::{Name, People};

pub(super) fn check(reader: &mut Reader<'_>, draft: &Draft<'_>, known: &Known<'_>) {
    let Some(people) = known.people else { return };
    for (step, places) in &draft.steps {
        for (key, name, at) in &places.by {
            if people.is_empty() {
                let what = format!("without people in escalation.yaml whoever may use the socket answers this `{key}`");
                reader.remark(*at, what, "`people` and `approvers` in an escalation.yaml beside quell.yaml");
            } else if !people.approvers.contains_key(*name) {
                approvers(reader, *at, name, people);
            }
        }
        if let StepKind::Escalate(to) = &step.kind {
            escalates(reader, to, places.escalate, people);
        }
        let (StepKind::Ask(ask), Some(at)) = (&step.kind, places.person) else { continue };
        let Some(person) = &ask.person else { continue };
        if people.is_empty() {
            let what = "without people in escalation.yaml there is nobody to ask: `otherwise` holds at once";
            reader.warning(at, what, "`people` in an escalation.yaml beside quell.yaml");
        } else if let Some(name) = literal(&person.text)
            && !people.people.contains_key(name)
        {
            let mistake = reader.source.error(at, format!("there is no person `{name}` in escalation.yaml"));
            let all = people.people.keys().map(Name::as_str);
            reader.note_near(mistake.expected("one of its `people`"), name, all);
        }
        if !people.is_empty() {
            ways(reader, at, &ask.not_via, known.personal_tokens);
        }
    }
}

/// By the socket the engine sees from where somebody answers. By the other ways only `not_via` keeps the suspect out.
fn ways(reader: &mut Reader<'_>, at: Place, not_via: &[Name], personal_tokens: bool) {
    let is_closed = |way: &str| not_via.iter().any(|closed| closed.as_str() == way);
    if WAYS.iter().all(|way| *way == "socket" || is_closed(way)) {
        let what = if is_closed("socket") {
            "`not_via` leaves no way by which to answer"
        } else {
            "`not_via` leaves the socket alone, where nobody answers out of the session, or as the user, that is suspected"
        };
        reader.warning(at, what, "a way that stays open, like `not_via: [socket]`");
    } else if personal_tokens && !is_closed("token") {
        let what = "a token of theirs answers from anywhere, also out of the session that is suspected";
        reader.warning(at, what, "`not_via: [token]`, unless no token of theirs lies where it may be taken");
    }
}

fn approvers(reader: &mut Reader<'_>, at: Place, name: &str, people: &People) {
    let other = match name {
        _ if people.people.contains_key(name) => "; it is a person",
        _ if people.policies.contains_key(name) => "; it is a policy",
        _ => "",
    };
    let mistake = reader.source.error(at, format!("there are no approvers `{name}` in escalation.yaml{other}"));
    let expected = match (other, people.approvers.keys().next()) {
        ("; it is a person", _) => format!("approvers, like `approvers: {{ {name}: {{ people: [{name}] }} }}`"),
        ("; it is a policy", _) => {
            format!("approvers, like `approvers: {{ {name}: {{ people: [...], policy: {name} }} }}`")
        }
        (_, Some(_)) => "one of its `approvers`".to_owned(),
        (_, None) => "`approvers` in it, of which there are none".to_owned(),
    };
    reader.note_near(mistake.expected(expected), name, people.approvers.keys().map(Name::as_str));
}

/// Without policies of somebody's own, what is told is printed on the terminal, whichever is named.
fn escalates(reader: &mut Reader<'_>, to: &Escalate, places: EscalatePlaces, people: &People) {
    let is_own = people.is_empty() && people.policies.keys().all(|name| name.as_str() == DEFAULT);
    let (Some(name), Some(at)) = (&to.policy, places.policy) else { return };
    let Some(steps) = people.policies.get(name) else {
        let expected = "one of its `policies`";
        if is_own {
            let what = format!(
                "without policies in escalation.yaml there is no `{name}`: the next of those who are told comes"
            );
            return reader.remark(at, what, "`policies` in an escalation.yaml beside quell.yaml");
        }
        let mistake = reader.source.error(at, format!("there is no policy `{name}` in escalation.yaml"));
        return reader.note_near(mistake.expected(expected), name.as_str(), people.policies.keys().map(Name::as_str));
    };
    if let (Some(step), Some(at)) = (to.step.filter(|step| step > steps), places.step) {
        let what = format!("`{name}` has no step {step}, it has {steps}");
        reader.error(at, what, format!("1 to {steps}; past its last step its `last_resort` is told, by itself"));
    }
}

/// The name, where an expression is nothing but a text.
fn literal(expression: &str) -> Option<&str> {
    let inner = expression.trim().strip_prefix('"')?.strip_suffix('"')?;
    (!inner.contains(['"', '\\'])).then_some(inner)
}

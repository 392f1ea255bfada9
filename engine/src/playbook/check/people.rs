//! People: are the approvers and persons that a playbook asks in escalation.yaml.
//!
//! A question to approvers that nobody has written down would be answered by nobody in the night that it is asked.

use crate::load::Known;
use crate::load::playbook::Draft;
use crate::load::reader::Reader;
use crate::load::yaml::Place;
use quell_model::playbook::StepKind;
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
    }
}

fn approvers(reader: &mut Reader<'_>, at: Place, name: &str, people: &People) {
    let other = match name {
        _ if people.people.contains_key(name) => "; it is a person",
        _ if people.policies.contains(name) => "; it is a policy",
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

/// The name, where an expression is nothing but a text.
fn literal(expression: &str) -> Option<&str> {
    let inner = expression.trim().strip_prefix('"')?.strip_suffix('"')?;
    (!inner.contains(['"', '\\'])).then_some(inner)
}

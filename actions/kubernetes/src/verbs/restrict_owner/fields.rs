//! The fields of a container that are restricted: as they stand, as they are set, and as they are given back.
//!
//! Pure. Keeps true: a field that somebody else has written since is theirs; a map that was not there before is not left behind empty, so
//! that the template is the former one and its former pods fit it.

use quell_model::Json;
use serde::{Deserialize, Serialize};
use serde_json::{Map, json};

/// One field below `securityContext`: null stands for one that is not there.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(super) struct Field {
    /// `allowPrivilegeEscalation`, `capabilities.drop` …
    pub(super) at: String,
    pub(super) was: Json,
    pub(super) to: Json,
}

/// The fields of one container that are not as they are to be.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(super) struct Container {
    /// `containers` or `initContainers`.
    pub(super) list: String,
    pub(super) name: String,
    pub(super) fields: Vec<Field>,
    /// Which of the maps that hold them were there.
    had_context: bool,
    had_capabilities: bool,
}

const CONTEXT: &str = "securityContext";
const CAPABILITIES: &str = "capabilities";
const SECCOMP: &str = "seccompProfile";

/// The lists of a template that have containers.
pub(super) const LISTS: [&str; 2] = ["containers", "initContainers"];

/// Every container of a template, with the list that it stands in.
pub(super) fn containers(template: &Json) -> impl Iterator<Item = (&'static str, &Json)> {
    LISTS.into_iter().flat_map(move |list| {
        template["spec"][list].as_array().into_iter().flatten().map(move |container| (list, container))
    })
}

fn value<'a>(context: &'a Json, at: &str) -> &'a Json {
    at.split('.').fold(context, |value, key| &value[key])
}

impl Container {
    /// What is to be changed of a container in this template; none: nothing.
    pub(super) fn of(template: &Json, list: &str, container: &Json) -> Option<Self> {
        let context = &container[CONTEXT];
        let mut wanted = vec![
            ("allowPrivilegeEscalation", json!(false)),
            ("readOnlyRootFilesystem", json!(true)),
            ("capabilities.drop", json!(["ALL"])),
            ("capabilities.add", Json::Null),
        ];
        // A privileged container has every capability, and the API server takes no `allowPrivilegeEscalation: false` beside it.
        if context["privileged"] == json!(true) {
            wanted.push(("privileged", json!(false)));
        }
        if own_profile(template, container).is_none() {
            wanted.push((SECCOMP, json!({ "type": "RuntimeDefault" })));
        }
        let other = |(at, to): (&str, Json)| {
            let was = value(context, at).clone();
            (was != to).then(|| Field { at: at.to_owned(), was, to })
        };
        let fields: Vec<Field> = wanted.into_iter().filter_map(other).collect();
        let name = container["name"].as_str().unwrap_or_default().to_owned();
        let (had_context, had_capabilities) = (context.is_object(), context[CAPABILITIES].is_object());
        let change = Self { list: list.to_owned(), name, fields, had_context, had_capabilities };
        (!change.fields.is_empty()).then_some(change)
    }

    /// It, as it stands in a template; none: there is none of its name.
    fn standing<'a>(&self, template: &'a Json) -> Option<&'a Json> {
        containers(template)
            .find(|(list, one)| *list == self.list && one["name"] == self.name.as_str())
            .map(|(_, one)| one)
    }

    /// The fields that do not stand as they were set.
    pub(super) fn unset(&self, template: &Json) -> Vec<&Field> {
        let Some(container) = self.standing(template) else { return Vec::new() };
        self.fields.iter().filter(|field| *value(&container[CONTEXT], &field.at) != field.to).collect()
    }

    /// The fields that stand as they were set, and stood otherwise.
    pub(super) fn still_set(&self, template: &Json) -> Vec<&Field> {
        let Some(container) = self.standing(template) else { return Vec::new() };
        self.fields.iter().filter(|field| *value(&container[CONTEXT], &field.at) == field.to).collect()
    }

    /// What a patch says of it to set its fields; none: they are set.
    pub(super) fn setting(&self, template: &Json) -> Option<Json> {
        let fields = self.unset(template);
        let values = fields.iter().map(|field| (field.at.as_str(), &field.to));
        (!fields.is_empty()).then(|| self.patch(values))
    }

    /// What a patch says of it to give its fields back, and which are somebody else's by now; none: there is nothing to give back.
    pub(super) fn giving_back(&self, template: &Json) -> (Option<Json>, Vec<String>) {
        let Some(container) = self.standing(template) else { return (None, Vec::new()) };
        let (mut back, mut others) = (Vec::new(), Vec::new());
        for field in &self.fields {
            let now = value(&container[CONTEXT], &field.at);
            if *now == field.to {
                back.push(field);
            } else if *now != field.was {
                let is = quell_actions::text::one_line(&now.to_string(), 120);
                others.push(format!(
                    "`{}` of container `{}` is {is} now, which quell did not write",
                    field.at, self.name
                ));
            }
        }
        if back.is_empty() {
            return (None, others);
        }
        let mut patch = self.patch(back.iter().map(|field| (field.at.as_str(), &field.was)));
        let mut then = container[CONTEXT].clone();
        for field in &back {
            put(&mut then, &field.at, &field.was);
        }
        let is_empty = |map: &Json| map.as_object().is_none_or(Map::is_empty);
        if !self.had_capabilities && is_empty(&then[CAPABILITIES]) {
            patch[CONTEXT][CAPABILITIES] = Json::Null;
            put(&mut then, CAPABILITIES, &Json::Null);
        }
        if !self.had_context && is_empty(&then) {
            patch[CONTEXT] = Json::Null;
        }
        (Some(patch), others)
    }

    fn patch<'a>(&self, values: impl Iterator<Item = (&'a str, &'a Json)>) -> Json {
        let mut context = json!({});
        for (at, value) in values {
            match at.split_once('.') {
                Some((map, key)) => context[map][key] = value.clone(),
                None => context[at] = value.clone(),
            }
        }
        json!({ "name": self.name, CONTEXT: context })
    }
}

/// Puts a value where it belongs; null takes it away.
fn put(context: &mut Json, at: &str, value: &Json) {
    let (map, key) = match at.split_once('.') {
        Some((map, key)) => (context.get_mut(map), key),
        None => (Some(context), at),
    };
    let Some(map) = map.and_then(Json::as_object_mut) else { return };
    match value {
        Json::Null => drop(map.shift_remove(key)),
        value => drop(map.insert(key.to_owned(), value.clone())),
    }
}

/// A profile that somebody made for it: it may forbid more than the runtime's.
pub(super) fn own_profile(template: &Json, container: &Json) -> Option<String> {
    let of = |context: &Json| context[SECCOMP].as_object().cloned();
    let profile = of(&container[CONTEXT]).or_else(|| of(&template["spec"][CONTEXT]))?;
    let is_own = profile.get("type") == Some(&json!("Localhost"));
    is_own.then(|| profile.get("localhostProfile").and_then(Json::as_str).unwrap_or_default().to_owned())
}

/// A patch of the template of these containers.
pub(super) fn patch_of(all: Vec<(String, Json)>) -> Option<Json> {
    let mut spec = json!({});
    for (list, container) in all {
        match spec[&list].as_array_mut() {
            Some(there) => there.push(container),
            None => spec[&list] = json!([container]),
        }
    }
    let is_any = spec.as_object().is_some_and(|spec| !spec.is_empty());
    is_any.then(|| json!({ "spec": { "template": { "spec": spec } } }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn template(context: Json) -> Json {
        let mut container = json!({ "name": "main" });
        if !context.is_null() {
            container[CONTEXT] = context;
        }
        json!({ "spec": { "containers": [container] } })
    }

    fn of(template: &Json) -> Option<Container> {
        Container::of(template, "containers", &template["spec"]["containers"][0])
    }

    fn whole() -> Json {
        json!({
            "allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true, "capabilities": { "drop": ["ALL"] },
            "seccompProfile": { "type": "RuntimeDefault" },
        })
    }

    #[test]
    fn what_is_restricted_already_is_not_changed() {
        assert_eq!(of(&template(whole())), None);
        let bare = of(&template(Json::Null)).unwrap();
        let fields: Vec<&str> = bare.fields.iter().map(|field| field.at.as_str()).collect();
        assert_eq!(fields, ["allowPrivilegeEscalation", "readOnlyRootFilesystem", "capabilities.drop", SECCOMP]);
        let strong = of(&template(json!({ "privileged": true, "capabilities": { "add": ["NET_ADMIN"] } }))).unwrap();
        let taken = |at: &str| strong.fields.iter().find(|field| field.at == at).map(|field| field.to.clone());
        assert_eq!((taken("privileged"), taken("capabilities.add")), (Some(json!(false)), Some(Json::Null)));
    }

    #[test]
    fn a_profile_that_was_made_for_it_stays() {
        let own = template(json!({ "seccompProfile": { "type": "Localhost", "localhostProfile": "web.json" } }));
        assert!(of(&own).unwrap().fields.iter().all(|field| field.at != SECCOMP));
        let mut of_pod = template(Json::Null);
        of_pod["spec"][CONTEXT] = json!({ SECCOMP: { "type": "Localhost", "localhostProfile": "p.json" } });
        assert!(of(&of_pod).unwrap().fields.iter().all(|field| field.at != SECCOMP));
        of_pod["spec"][CONTEXT] = json!({ SECCOMP: { "type": "Unconfined" } });
        assert!(of(&of_pod).unwrap().fields.iter().any(|field| field.at == SECCOMP));
    }

    #[test]
    fn nothing_empty_is_left_behind() {
        let bare = of(&template(Json::Null)).unwrap();
        let (back, others) = bare.giving_back(&template(whole()));
        assert_eq!((back, others), (Some(json!({ "name": "main", CONTEXT: null })), vec![]));
        let had = of(&template(json!({ "runAsUser": 7, "capabilities": { "drop": ["NET_RAW"] } }))).unwrap();
        let mut now = whole();
        now["runAsUser"] = json!(7);
        let (back, _) = had.giving_back(&template(now));
        let expected = json!({
            "allowPrivilegeEscalation": null, "readOnlyRootFilesystem": null, "capabilities": { "drop": ["NET_RAW"] },
            "seccompProfile": null,
        });
        assert_eq!(back.unwrap()[CONTEXT], expected);
    }

    #[test]
    fn what_somebody_else_wrote_since_is_theirs() {
        let bare = of(&template(Json::Null)).unwrap();
        let mut now = whole();
        now["readOnlyRootFilesystem"] = json!(false);
        now["allowPrivilegeEscalation"] = Json::Null;
        let (back, others) = bare.giving_back(&template(now));
        assert_eq!(others, ["`readOnlyRootFilesystem` of container `main` is false now, which quell did not write"]);
        assert_eq!(
            back.unwrap()[CONTEXT],
            json!({ "capabilities": null, "seccompProfile": null }),
            "the map holds theirs"
        );
        assert_eq!(bare.giving_back(&json!({ "spec": { "containers": [] } })), (None, vec![]), "it is gone");
    }

    #[test]
    fn a_patch_names_each_container_in_its_list() {
        let one = |list: &str, name: &str| (list.to_owned(), json!({ "name": name }));
        let all = patch_of(vec![one("containers", "a"), one("initContainers", "b"), one("containers", "c")]).unwrap();
        assert_eq!(
            all["spec"]["template"]["spec"],
            json!({ "containers": [{ "name": "a" }, { "name": "c" }], "initContainers": [{ "name": "b" }] })
        );
        assert_eq!(patch_of(Vec::new()), None);
    }
}

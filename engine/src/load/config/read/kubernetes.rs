//! `kubernetes` in quell.yaml, and what the guard's keys say of a cluster.
//!
//! Owns those keys. Whether a file, a namespace or a node is there is for others to find out.

use super::Reading;
use crate::load::config::NAMESPACES;
use crate::load::reader::Fields;
use crate::load::yaml::{Entry, Node, Value};
use quell_model::Name;
use quell_model::guard::{EACH, Share};

/// The keys of the section.
pub(crate) const KEYS: &[&str] = &["enabled", "cluster", "kubeconfig", "context", "node"];

/// Before a built-in default that is to hold no more.
const WITHOUT: char = '!';

impl Reading<'_> {
    pub(super) fn kubernetes(&mut self, top: &Fields<'_>) {
        let Some(fields) = self.section(top, "kubernetes", KEYS, &[]) else { return };
        if let Some(enabled) = self.flag(&fields, "enabled", "kubernetes.enabled") {
            self.config.kubernetes.enabled = enabled;
        }
        if let Some(name) = self.named(&fields, "cluster") {
            self.config.kubernetes.cluster = name;
        }
        let kubeconfig = self.at(&fields, "kubeconfig", "kubernetes.kubeconfig");
        self.config.kubernetes.kubeconfig = kubeconfig.and_then(|node| self.path(node, "`kubeconfig`"));
        if let Some(node) = self.at(&fields, "context", "kubernetes.context") {
            if kubeconfig.is_none() {
                self.reader.error(
                    node.at,
                    "`context` is one of a kubeconfig, and none is named",
                    "`kubeconfig: FILE` beside it",
                );
            }
            self.config.kubernetes.context = self.reader.text(node, "`context`").map(str::to_owned);
        }
        self.config.kubernetes.node = self.named(&fields, "node");
    }

    fn named(&mut self, fields: &Fields<'_>, key: &str) -> Option<Name> {
        let node = self.at(fields, key, &format!("kubernetes.{key}"))?;
        let text = self.reader.text(node, &format!("`{key}`"))?;
        if !is_name(text) {
            self.reader.error(node.at, format!("`{text}` is no name"), "letters, digits, `-`, `.` and `_`");
            return None;
        }
        Some(text.into())
    }

    /// `guard.protect.namespaces`: besides those built in, but for those that are written with a `!`.
    pub(super) fn protected_namespaces(&mut self, protect: &Fields<'_>) {
        let Some(node) = self.at(protect, "namespaces", "guard.protect.namespaces") else { return };
        for (text, at) in self.patterns(node, "`namespaces`") {
            let all = &mut self.config.guard.namespaces;
            match text.strip_prefix(WITHOUT) {
                None if all.contains(&text) => {}
                None => all.push(text),
                Some(own) if NAMESPACES.contains(&own) => all.retain(|known| known != own),
                Some(own) => {
                    let mistake = self
                        .reader
                        .source
                        .error(at, format!("`{own}` is not protected by itself: there is nothing to take out"));
                    let mistake = mistake.expected(format!("one of `!{}`", NAMESPACES.join("`, `!")));
                    self.reader.note_near(mistake, own, NAMESPACES);
                }
            }
        }
    }

    /// Of `guard.only_within`.
    pub(super) fn namespace(&mut self, within: &Fields<'_>) -> Option<Name> {
        let node = within.get("namespace")?;
        let text = self.reader.text(node, "`namespace`")?;
        if !is_name(text) {
            self.reader.error(node.at, format!("`{text}` is no namespace"), "its name, like `shop`");
            return None;
        }
        Some(text.into())
    }

    /// `guard.protect.nodes`.
    pub(super) fn protected_nodes(&mut self, protect: &Fields<'_>) {
        let Some(node) = self.at(protect, "nodes", "guard.protect.nodes") else { return };
        self.config.guard.nodes = self.patterns(node, "`nodes`").into_iter().map(|(text, _)| text).collect();
    }

    /// Names, each with a `*` at its end or without.
    fn patterns(&mut self, node: &Node, what: &str) -> Vec<(String, crate::load::yaml::Place)> {
        let mut all = Vec::new();
        for (text, at) in self.reader.texts(node, what) {
            let bare = text.strip_prefix(WITHOUT).unwrap_or(text);
            let head = bare.strip_suffix('*').unwrap_or(bare);
            if bare == "*" || is_name(head) {
                all.push((text.to_owned(), at));
            } else {
                self.reader.error(at, format!("`{text}` is no name"), "a name, or the beginning of one and a `*`");
            }
        }
        all
    }

    /// `guard.limits.min_ready`: one share for every action, or rows.
    pub(super) fn min_ready(&mut self, entry: &Entry) {
        const WHAT: &str = "`min_ready`";
        let Value::Map(_) = &entry.value.value else {
            if let Some(share) = self.share(&entry.value, WHAT) {
                self.written(&format!("guard.limits.min_ready.{EACH}"), entry);
                self.config.guard.min_ready.rows.insert(EACH.to_owned(), share);
            }
            return;
        };
        for row in self.reader.map(&entry.value, WHAT).unwrap_or_default() {
            if let Some(share) = self.share(&row.value, &format!("{WHAT} of `{}`", row.key)) {
                self.written(&format!("guard.limits.min_ready.{}", row.key), row);
                self.config.guard.min_ready.rows.insert(row.key.clone(), share);
            }
        }
    }

    /// `guard.limits.nodes`.
    pub(super) fn nodes_at_a_time(&mut self, entry: &Entry) {
        if let Some(share) = self.share(&entry.value, "`nodes`") {
            self.written("guard.limits.nodes", entry);
            self.config.guard.min_ready.nodes = Some(share);
        }
    }

    /// `50%`, or a number.
    fn share(&mut self, node: &Node, what: &str) -> Option<Share> {
        let read = match &node.value {
            Value::Int(count) => u32::try_from(*count).ok().map(Share::Count),
            Value::Text(text) => {
                let percent = text.strip_suffix('%').filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()));
                percent.and_then(|digits| digits.parse().ok()).filter(|percent| *percent <= 100).map(Share::Percent)
            }
            _ => None,
        };
        if read.is_none() {
            self.reader.error(
                node.at,
                format!("{what} is {}", node.shown()),
                "a share like `50%`, up to `100%`, or a whole number",
            );
        }
        read
    }
}

/// Of a namespace, a node or a cluster, without being strict about it.
fn is_name(text: &str) -> bool {
    let is_in = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
    !text.is_empty() && text.len() <= 253 && text.bytes().all(is_in)
}

#[cfg(test)]
mod tests {
    use crate::load::config::{Config, config};
    use quell_model::guard::{Share, Within};
    use std::path::Path;

    fn load(text: &str) -> (Option<Config>, Vec<String>) {
        let (config, mistakes) = config(Path::new("/etc/quell/quell.yaml"), text);
        (
            config,
            mistakes
                .into_iter()
                .map(|mistake| format!("{} ({})", mistake.what, mistake.expected.unwrap_or_default()))
                .collect(),
        )
    }

    fn right(text: &str) -> Config {
        let (config, mistakes) = load(text);
        assert!(mistakes.is_empty(), "{text}: {mistakes:?}");
        config.unwrap()
    }

    #[test]
    fn where_the_cluster_is_is_read() {
        let own = right("kubernetes: { cluster: prod, kubeconfig: kube.conf, context: ops, node: n-1 }\n").kubernetes;
        assert!(own.enabled);
        assert_eq!((own.cluster.as_str(), own.context.as_deref()), ("prod", Some("ops")));
        assert_eq!(own.kubeconfig.as_deref(), Some(Path::new("/etc/quell/kube.conf")));
        assert_eq!(own.node.unwrap().as_str(), "n-1");
        assert_eq!(right("").kubernetes, Default::default());
        assert!(!right("kubernetes: { enabled: false }\n").kubernetes.enabled);
        for (text, says) in [
            ("kubernetes: { context: ops }", "none is named"),
            ("kubernetes: { cluster: 'a b' }", "`a b` is no name"),
            ("kubernetes: { kubeconfig: '' }", "is empty"),
            ("kubernetes: { kubconfig: x }", "unknown key `kubconfig`"),
            ("kubernetes: prod", "`kubernetes` is text"),
            ("kubernetes: { enabled: maybe }", "`enabled`"),
        ] {
            let (config, mistakes) = load(text);
            assert!(config.is_none() && mistakes.iter().any(|what| what.contains(says)), "{text}: {mistakes:?}");
        }
    }

    #[test]
    fn namespaces_are_protected_besides_those_built_in_and_one_can_be_taken_out() {
        let of = |text: &str| right(text).guard.namespaces;
        assert_eq!(of(""), ["kube-system", "kube-public", "kube-node-lease"]);
        assert_eq!(
            of("guard: { protect: { namespaces: [payments, 'infra-*', '!kube-public', kube-system] } }"),
            ["kube-system", "kube-node-lease", "payments", "infra-*"]
        );
        assert_eq!(right("guard: { protect: { nodes: ['cp-*', n-1] } }").guard.nodes, ["cp-*", "n-1"]);
        for (text, says) in [
            ("['!payments']", "nothing to take out (one of `!kube-system`"),
            ("['a b']", "`a b` is no name"),
            ("[5]", "an item of `namespaces` is"),
            ("kube-system", "`namespaces` is"),
        ] {
            let (config, mistakes) = load(&format!("guard: {{ protect: {{ namespaces: {text} }} }}"));
            assert!(config.is_none() && mistakes.iter().any(|what| what.contains(says)), "{text}: {mistakes:?}");
        }
    }

    #[test]
    fn a_floor_is_one_share_or_rows() {
        let rows = |text: &str| {
            let rows = right(&format!("guard: {{ limits: {{ {text} }} }}")).guard.min_ready.rows;
            rows.into_iter().map(|(row, share)| format!("{row}={share}")).collect::<Vec<_>>()
        };
        assert_eq!(rows(""), ["*=50%"]);
        assert_eq!(rows("min_ready: 75%"), ["*=75%"]);
        assert_eq!(rows("min_ready: 2"), ["*=2"]);
        assert_eq!(rows("min_ready: { kubernetes.isolate_pod: 0 }"), ["*=50%", "kubernetes.isolate_pod=0"]);
        assert_eq!(rows("min_ready: { '*': 0%, kubernetes.delete_pod: 100% }"), ["*=0%", "kubernetes.delete_pod=100%"]);
        assert_eq!(right("").guard.min_ready.nodes, Some(Share::Percent(10)));
        assert_eq!(right("guard: { limits: { nodes: 3% } }").guard.min_ready.nodes, Some(Share::Percent(3)));
        for wrong in ["101%", "half", "-1", "'50 %'", "1.5", "[50%]", "'%'", "5/h"] {
            let (config, mistakes) = load(&format!("guard: {{ limits: {{ min_ready: {wrong} }} }}"));
            assert!(config.is_none() && mistakes[0].contains("a share like `50%`"), "{wrong}: {mistakes:?}");
            assert!(load(&format!("guard: {{ limits: {{ nodes: {wrong} }} }}")).0.is_none(), "{wrong}");
        }
    }

    #[test]
    fn what_is_touched_lies_within_a_cgroup_a_namespace_or_both() {
        let of = |text: &str| right(&format!("guard: {{ only_within: {text} }}")).guard.only_within.unwrap();
        assert_eq!(of("{ namespace: shop }"), Within::namespace("shop"));
        let both = Within { cgroup: Some("/box".into()), namespace: Some("shop".into()) };
        assert_eq!(of("{ cgroup: /box, namespace: shop }"), both);
        for wrong in ["{}", "{ namespace: 'a b' }", "{ namespace: shop, cgroup: box }", "{ account: a }"] {
            assert!(load(&format!("guard: {{ only_within: {wrong} }}")).0.is_none(), "{wrong}");
        }
    }
}

//! `access` of quell.yaml: who may use the socket, and what the roles are.

use super::Reading;
use crate::load::config::Permission;
use crate::load::reader::{Fields, one_of};
use crate::load::yaml::{Entry, Node};
use quell_model::Name;

pub(crate) const KEYS: &[&str] = &["socket", "roles"];

impl Reading<'_> {
    pub(super) fn access(&mut self, top: &Fields<'_>) {
        let Some(fields) = self.section(top, "access", KEYS, &["listen"]) else { return };
        if let Some(node) = fields.get("socket")
            && let Some(socket) = self.reader.fields(node, "`socket`", &["group"], &[])
            && let Some(node) = self.at(&socket, "group", "access.socket.group")
            && let Some(group) = self.reader.text(node, "`group`")
        {
            group.clone_into(&mut self.config.socket_group);
        }
        if let Some(node) = fields.get("roles") {
            for entry in self.reader.map(node, "`roles`").unwrap_or_default() {
                self.role(entry);
            }
        }
    }

    /// A role of one's own, or one that replaces its namesake.
    fn role(&mut self, entry: &Entry) {
        let role = entry.key.as_str();
        let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
        if role.is_empty() || !role.chars().all(is_word) {
            self.reader.error(entry.at, format!("`{role}` cannot be a role"), "letters, digits, `_` and `-`");
            return;
        }
        let permissions = self.permissions(&entry.value, role);
        self.written(&format!("access.roles.{role}"), entry);
        self.config.roles.set(Name::from(role), permissions);
    }

    fn permissions(&mut self, node: &Node, role: &str) -> Vec<Permission> {
        let words: Vec<&str> = Permission::WORDS.iter().map(|(word, _)| *word).collect();
        let mut found = Vec::new();
        for (text, at) in self.reader.texts(node, &format!("the role `{role}`")) {
            match Permission::WORDS.iter().find(|(word, _)| *word == text) {
                Some((_, permission)) => found.push(*permission),
                None => {
                    let mistake = self.reader.source.error(at, format!("`{text}` is no permission"));
                    self.reader.note(mistake.expected(one_of(&words)).nearest(text, words.iter().copied()));
                }
            }
        }
        found
    }
}

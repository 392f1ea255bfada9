//! Names of users, from /etc/passwd, read again when it has changed.
//!
//! Names of a container's own users are not looked up: the uid is shown under the host's name for it.

use std::cell::RefCell;
use std::collections::HashMap;
use std::fs;
use std::sync::Arc;
use std::time::SystemTime;

const PASSWD: &str = "/etc/passwd";

#[derive(Debug, Default)]
struct Names {
    changed: Option<SystemTime>,
    by_uid: HashMap<u32, Arc<str>>,
}

/// The users of this host.
#[derive(Debug, Default)]
pub(crate) struct Users {
    names: RefCell<Names>,
}

impl Users {
    /// The user's name, or the uid as text.
    pub(crate) fn name(&self, uid: u32) -> Arc<str> {
        let mut names = self.names.borrow_mut();
        if names.changed.is_none() {
            names.read();
        }
        Arc::clone(names.by_uid.entry(uid).or_insert_with(|| uid.to_string().into()))
    }

    /// Looks whether the file has changed; called now and then, not for every event.
    pub(crate) fn refresh(&self) {
        let now = fs::metadata(PASSWD).and_then(|m| m.modified()).ok();
        let mut names = self.names.borrow_mut();
        if now != names.changed {
            names.read();
        }
    }
}

impl Names {
    fn read(&mut self) {
        self.changed = fs::metadata(PASSWD).and_then(|m| m.modified()).ok().or(Some(SystemTime::UNIX_EPOCH));
        self.by_uid = parse(&fs::read_to_string(PASSWD).unwrap_or_default());
    }
}

/// The first name of a uid holds, as getpwuid has it.
fn parse(passwd: &str) -> HashMap<u32, Arc<str>> {
    let mut out = HashMap::new();
    for line in passwd.lines() {
        let mut parts = line.split(':');
        if let (Some(name), Some(uid)) = (parts.next(), parts.nth(1).and_then(|u| u.parse().ok())) {
            out.entry(uid).or_insert_with(|| name.into());
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_name_of_a_uid_holds_and_rubbish_is_passed_over() {
        let names =
            parse("root:x:0:0:root:/root:/bin/sh\ntoor:x:0:0::/:/bin/sh\n\nbroken\nann:x:1000:1000::/:/bin/sh\n");
        assert_eq!(names.get(&0).map(AsRef::as_ref), Some("root"));
        assert_eq!(names.get(&1000).map(AsRef::as_ref), Some("ann"));
        assert_eq!(names.len(), 2);
    }
}

//! Watched paths: whose reads are events. The kernel compares single names, this file the whole path.
//!
//! A pattern is an absolute path in which `*` stands for any text within a component, `/**/` in front for any directories
//! (homes lie anywhere) and a trailing `/` or `/**` for everything below. Of each pattern the kernel gets the last component that has no `*`: it sends what has such a name
//! anywhere on its path, and the rest is thrown away here.

use thiserror::Error;

/// The longest name that the kernel side compares, with its NUL.
pub(crate) const NAME_LEN: usize = 32;

/// The pattern cannot be watched.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum WatchError {
    /// Not absolute.
    #[error("watched path `{0}` is not absolute")]
    NotAbsolute(String),
    /// Nothing to tell the kernel.
    #[error("watched path `{0}` has no component without `*`; hint: name at least one directory or file")]
    NoName(String),
}

#[derive(Debug, Clone)]
struct Pattern {
    anywhere: bool,
    parts: Vec<String>,
    below: bool,
}

/// The set of watched paths.
#[derive(Debug, Clone, Default)]
pub(crate) struct Watch {
    patterns: Vec<Pattern>,
    names: Vec<[u8; NAME_LEN]>,
    lengths: u64,
}

impl Watch {
    /// Reads the patterns.
    ///
    /// # Errors
    /// The first pattern that cannot be watched.
    pub(crate) fn new<S: AsRef<str>>(patterns: &[S]) -> Result<Self, WatchError> {
        let mut watch = Self::default();
        for text in patterns {
            watch.add(text.as_ref())?;
        }
        Ok(watch)
    }

    fn add(&mut self, text: &str) -> Result<(), WatchError> {
        let path = text.strip_prefix('/').ok_or_else(|| WatchError::NotAbsolute(text.to_owned()))?;
        let (path, anywhere) = path.strip_prefix("**/").map_or((path, false), |rest| (rest, true));
        let (path, below) = match path.strip_suffix("/**").or_else(|| path.strip_suffix('/')) {
            Some(upper) => (upper, true),
            None => (path, false),
        };
        let parts: Vec<String> = path.split('/').filter(|p| !p.is_empty()).map(str::to_owned).collect();
        let name = parts.iter().rev().find(|p| !p.contains('*')).ok_or_else(|| WatchError::NoName(text.to_owned()))?;
        let mut key = [0; NAME_LEN];
        let kept = name.len().min(NAME_LEN - 1);
        key[..kept].copy_from_slice(&name.as_bytes()[..kept]);
        if !self.names.contains(&key) {
            self.names.push(key);
        }
        self.lengths |= 1 << name.len().min(63);
        self.patterns.push(Pattern { anywhere, parts, below });
        Ok(())
    }

    /// The names for the kernel's map.
    pub(crate) fn names(&self) -> &[[u8; NAME_LEN]] {
        &self.names
    }

    /// A bit for each length that a name has.
    pub(crate) fn lengths(&self) -> u64 {
        self.lengths
    }

    /// Whether this path is watched.
    #[must_use]
    pub(crate) fn covers(&self, path: &str) -> bool {
        self.patterns.iter().any(|p| p.covers(path))
    }
}

impl Pattern {
    fn covers(&self, path: &str) -> bool {
        let parts = path.split('/').filter(|p| !p.is_empty());
        let starts = if self.anywhere { parts.clone().count() } else { 1 };
        (0..starts).any(|from| self.covers_all(parts.clone().skip(from)))
    }

    fn covers_all<'a>(&self, mut parts: impl Iterator<Item = &'a str>) -> bool {
        for mine in &self.parts {
            match parts.next() {
                Some(theirs) if glob(mine.as_bytes(), theirs.as_bytes()) => {}
                _ => return false,
            }
        }
        self.below || parts.next().is_none()
    }
}

/// `*` matches any text, all else itself.
fn glob(pattern: &[u8], text: &[u8]) -> bool {
    let (mut p, mut t, mut star) = (0, 0, None);
    while t < text.len() {
        if p < pattern.len() && pattern[p] == b'*' {
            star = Some((p, t));
            p += 1;
        } else if p < pattern.len() && pattern[p] == text[t] {
            p += 1;
            t += 1;
        } else if let Some((at, from)) = star {
            p = at + 1;
            t = from + 1;
            star = Some((at, from + 1));
        } else {
            return false;
        }
    }
    pattern[p..].iter().all(|b| *b == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_cover_what_they_say() {
        let watch = Watch::new(&["/etc/shadow", "/home/*/.ssh/", "/root/.aws/cred*", "/proc/*/environ"]).unwrap();
        for yes in ["/etc/shadow", "/home/ann/.ssh/id_rsa", "/home/b/.ssh", "/root/.aws/credentials", "/proc/1/environ"]
        {
            assert!(watch.covers(yes), "{yes}");
        }
        for no in ["/etc/shadow-", "/etc/shadow/x", "/srv/.ssh/id_rsa", "/home/a/b/.ssh/x", "/root/.aws/config", "/"] {
            assert!(!watch.covers(no), "{no}");
        }
        assert_eq!(watch.names().len(), 4);
    }

    #[test]
    fn a_pattern_may_begin_anywhere() {
        let watch = Watch::new(&["/**/.ssh/id_*", "/**/.aws/**"]).unwrap();
        for yes in ["/home/ann/.ssh/id_rsa", "/.ssh/id_rsa", "/srv/a/b/c/.ssh/id_x", "/root/.aws/sso/cache/a"] {
            assert!(watch.covers(yes), "{yes}");
        }
        for no in ["/home/ann/.ssh/a/id_rsa", "/home/ann/.ssh/config", "/home/x.ssh/id_rsa", "/"] {
            assert!(!watch.covers(no), "{no}");
        }
        assert_eq!(watch.names().len(), 2);
    }

    #[test]
    fn what_the_kernel_cannot_name_is_refused() {
        assert_eq!(Watch::new(&["etc/shadow"]).unwrap_err(), WatchError::NotAbsolute("etc/shadow".into()));
        assert_eq!(Watch::new(&["/*/*"]).unwrap_err(), WatchError::NoName("/*/*".into()));
    }
}

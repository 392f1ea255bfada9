//! A file event's record. Names are joined as text: no file need be there any more when they are read.

use super::{CUT, FILE_NAME_CUT, FILE_PATH_CUT, path_of, u16_at, u32_at, u64_at};

pub(super) const DATA: usize = 144;

/// Something that happened to a file. `Head::sub` is the operation.
#[derive(Clone, Copy, Debug)]
pub(crate) struct File<'a> {
    pub(super) bytes: &'a [u8],
}

impl<'a> File<'a> {
    pub(crate) fn inode(&self) -> u64 {
        u64_at(self.bytes, 96)
    }
    pub(crate) fn device(&self) -> u32 {
        u32_at(self.bytes, 104)
    }
    /// Opened to write, and what stood there can be read (O_RDWR without O_TRUNC, asm-generic/fcntl.h).
    pub(crate) fn reads_too(&self) -> bool {
        let flags = u32_at(self.bytes, 108);
        flags & 0o3 == 0o2 && flags & 0o1000 == 0
    }
    pub(crate) fn mode(&self) -> u32 {
        u32_at(self.bytes, 112)
    }
    pub(crate) fn flags(&self) -> u16 {
        u16_at(self.bytes, 124)
    }
    fn lens(&self) -> [usize; 4] {
        [126, 128, 130, 132].map(|at| u16_at(self.bytes, at).into())
    }
    fn data(&self, at: usize, len: usize) -> &'a [u8] {
        self.bytes.get(DATA + at..DATA + at + len).unwrap_or_default()
    }
    /// The path: of the open file, or the passed name under its base.
    pub(crate) fn path(&self) -> String {
        let [base, name, ..] = self.lens();
        let mut path = joined(self.data(0, base), self.data(base, name));
        if self.flags() & FILE_PATH_CUT != 0 {
            path.insert_str(0, CUT);
        }
        if self.flags() & FILE_NAME_CUT != 0 {
            path.push_str(CUT);
        }
        path
    }
    /// The second path: where a rename or link goes to.
    pub(crate) fn second(&self) -> Option<String> {
        let [base, name, base2, name2] = self.lens();
        (name2 > 0).then(|| joined(self.data(base + name, base2), self.data(base + name + base2, name2)))
    }
    /// The second name as it was passed: the text of a symlink is no path of its own.
    pub(crate) fn second_name(&self) -> &'a [u8] {
        let [base, name, base2, name2] = self.lens();
        let whole = self.data(base + name + base2, name2);
        whole.strip_suffix(&[0]).unwrap_or(whole)
    }
}

/// A name under its base; dots are resolved as text, as no file need be there any more.
fn joined(base: &[u8], name: &[u8]) -> String {
    let name = name.strip_suffix(&[0]).unwrap_or(name);
    let name = String::from_utf8_lossy(name);
    if name.is_empty() {
        return path_of(base);
    }
    let mut out = if name.starts_with('/') { String::new() } else { path_of(base) };
    if out == "/" {
        out.clear();
    }
    for part in name.split('/') {
        match part {
            "" | "." => {}
            ".." => out.truncate(out.rfind('/').unwrap_or(0)),
            other => {
                out.push('/');
                out.push_str(other);
            }
        }
    }
    if out.is_empty() { "/".to_owned() } else { out }
}

/// What happened to a file, in the kernel side's numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
pub(crate) enum FileOp {
    Create = 1,
    Write,
    Read,
    Unlink,
    Rename,
    Chmod,
    Chown,
    Link,
    Symlink,
    Rmdir,
    Mkdir,
}

impl FileOp {
    /// From the kernel side's number.
    #[must_use]
    pub(crate) fn of(number: u16) -> Option<Self> {
        use FileOp::*;
        let all = [Create, Write, Read, Unlink, Rename, Chmod, Chown, Link, Symlink, Rmdir, Mkdir];
        all.into_iter().find(|op| *op as u16 == number)
    }

    /// The word in events.
    #[must_use]
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Write => "write",
            Self::Read => "read",
            Self::Unlink => "unlink",
            Self::Rename => "rename",
            Self::Chmod => "chmod",
            Self::Chown => "chown",
            Self::Link => "link",
            Self::Symlink => "symlink",
            Self::Rmdir => "rmdir",
            Self::Mkdir => "mkdir",
        }
    }
}

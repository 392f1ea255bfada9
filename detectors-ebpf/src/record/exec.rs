//! An exec's record. Its text is raw: components of paths leaf first, arguments with their NULs.

use super::{
    CUT, IMAGE_CWD_CUT, IMAGE_NO_NEW_PRIVS, IMAGE_PATH_CUT, Stdio, path_of, stdio, text_at, u16_at, u32_at, u64_at,
};

pub(super) const DATA: usize = 536;

/// An exec: image, working directory, arguments, where the standard streams lead.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Exec<'a> {
    pub(super) bytes: &'a [u8],
}

impl<'a> Exec<'a> {
    pub(crate) fn cap_effective(&self) -> u64 {
        u64_at(self.bytes, 96)
    }
    pub(crate) fn cap_permitted(&self) -> u64 {
        u64_at(self.bytes, 104)
    }
    pub(crate) fn inode(&self) -> u64 {
        u64_at(self.bytes, 112)
    }
    pub(crate) fn device(&self) -> u32 {
        u32_at(self.bytes, 120)
    }
    pub(crate) fn pid_ns(&self) -> u32 {
        u32_at(self.bytes, 128)
    }
    pub(crate) fn net_ns(&self) -> u32 {
        u32_at(self.bytes, 132)
    }
    pub(crate) fn ns_pid(&self) -> u32 {
        u32_at(self.bytes, 140)
    }
    pub(crate) fn login_uid(&self) -> u32 {
        u32_at(self.bytes, 144)
    }
    pub(crate) fn session(&self) -> u32 {
        u32_at(self.bytes, 148)
    }
    pub(crate) fn owner(&self) -> u32 {
        u32_at(self.bytes, 152)
    }
    pub(crate) fn flags(&self) -> u16 {
        u16_at(self.bytes, 158)
    }
    pub(crate) fn seccomp(&self) -> u8 {
        self.bytes.get(160).copied().unwrap_or(0)
    }
    fn file_len(&self) -> usize {
        u16_at(self.bytes, 164).into()
    }
    fn image_len(&self) -> usize {
        u16_at(self.bytes, 166).into()
    }
    fn cwd_len(&self) -> usize {
        u16_at(self.bytes, 168).into()
    }
    fn args_len(&self) -> usize {
        u16_at(self.bytes, 170).into()
    }
    pub(crate) fn tty(&self) -> &'a [u8] {
        text_at(self.bytes, 176, 16)
    }
    /// fds 0-2 of the task itself.
    pub(crate) fn own(&self, fd: usize) -> Stdio {
        Stdio::read(self.bytes, 192 + fd * stdio::LEN)
    }
    /// fds 0-2 of its parent.
    pub(crate) fn parent(&self, fd: usize) -> Stdio {
        Stdio::read(self.bytes, 192 + (3 + fd) * stdio::LEN)
    }
    /// All that an image is made of, beside its text: inode, device and owner, flags, the lengths.
    pub(crate) fn image_facts(&self) -> [u64; 4] {
        let flags = self.flags() & !IMAGE_NO_NEW_PRIVS;
        let owners = u64::from(self.device()) << 32 | u64::from(self.owner());
        [self.inode(), owners, u64_at(self.bytes, 164), flags.into()]
    }
    /// All text, in the order of the record.
    pub(crate) fn text(&self) -> &'a [u8] {
        self.data(0, self.file_len() + self.image_len() + self.cwd_len() + self.args_len())
    }
    fn data(&self, at: usize, len: usize) -> &'a [u8] {
        self.bytes.get(DATA + at..DATA + at + len).unwrap_or_default()
    }
    /// The name that was asked for: a script's path where the image is its interpreter.
    pub(crate) fn file(&self) -> &'a [u8] {
        text_at(self.bytes, DATA, self.file_len())
    }
    fn path(&self, path: String, cut: u16) -> String {
        if self.flags() & cut == 0 { path } else { format!("{CUT}{path}") }
    }
    pub(crate) fn image(&self) -> String {
        self.path(path_of(self.data(self.file_len(), self.image_len())), IMAGE_PATH_CUT)
    }
    pub(crate) fn cwd(&self) -> String {
        self.path(path_of(self.data(self.file_len() + self.image_len(), self.cwd_len())), IMAGE_CWD_CUT)
    }
    /// The arguments, each with a NUL.
    pub(crate) fn args(&self) -> &'a [u8] {
        self.data(self.file_len() + self.image_len() + self.cwd_len(), self.args_len())
    }
}

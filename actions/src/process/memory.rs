//! The memory of a process, as far as it is worth keeping: what no file on disk holds.
//!
//! Reads `/proc/PID/maps` and `/proc/PID/mem`; stops nothing and attaches to nothing. Keeps true: never more than the
//! bound in all; pieces of at most [`PIECE`].

use std::fs::File;
use std::os::unix::fs::FileExt;

/// One piece of evidence.
pub(crate) const PIECE: u64 = 4 << 20;
const PAGE: u64 = 4096;

/// One stretch of memory.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Region {
    pub(crate) from: u64,
    pub(crate) to: u64,
    rank: u8,
}

/// What is worth keeping, the most telling first: what runs without a file, then stacks and heaps, then other private
/// data. Code that a file holds is left to the file.
pub(crate) fn regions(maps: &str) -> Vec<Region> {
    let mut found: Vec<Region> = maps.lines().filter_map(region).collect();
    found.sort_by_key(|region| (region.rank, region.from));
    found
}

/// `7f00-7f10 rw-p 00000000 00:00 0   [heap]`.
fn region(line: &str) -> Option<Region> {
    let mut parts = line.split_ascii_whitespace();
    let (from, to) = parts.next()?.split_once('-')?;
    let (from, to) = (u64::from_str_radix(from, 16).ok()?, u64::from_str_radix(to, 16).ok()?);
    let rights = parts.next()?;
    let inode = parts.nth(2)?;
    let path = parts.next().unwrap_or_default();
    let fileless = inode == "0" || path.starts_with("/memfd:") || line.ends_with(" (deleted)");
    let rank = match path {
        _ if !rights.starts_with('r') || to <= from => return None,
        "[vvar]" | "[vvar_vclock]" | "[vsyscall]" | "[vdso]" => return None,
        _ if fileless && rights.contains('x') => 0,
        "[stack]" | "[heap]" => 1,
        _ if fileless => 2,
        _ if rights.starts_with("rw") && !path.starts_with("/dev/") => 3,
        _ => return None,
    };
    Some(Region { from, to, rank })
}

/// Reads one piece; pages that cannot be read are left as zeros, and counted.
pub(crate) fn piece(mem: &File, from: u64, length: u64) -> (Vec<u8>, u64) {
    let mut bytes = vec![0; usize::try_from(length).unwrap_or(0)];
    if mem.read_exact_at(&mut bytes, from).is_ok() {
        return (bytes, 0);
    }
    let mut unread = 0;
    for (page, at) in bytes.chunks_mut(PAGE as usize).zip((from..).step_by(PAGE as usize)) {
        if mem.read_exact_at(page, at).is_err() {
            page.fill(0);
            unread += 1;
        }
    }
    (bytes, unread)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_no_file_comes_first_and_code_on_disk_not_at_all() {
        let maps = "1000-2000 r-xp 00000000 08:01 77 /usr/bin/x\n\
            2000-3000 rw-p 00001000 08:01 77 /usr/bin/x\n\
            3000-4000 rw-p 00000000 00:00 0 [heap]\n\
            4000-5000 rw-p 00000000 00:00 0\n\
            5000-6000 rwxp 00000000 00:00 0\n\
            6000-7000 r-xp 00000000 00:01 9 /memfd:a (deleted)\n\
            7000-8000 ---p 00000000 00:00 0\n\
            8000-9000 r--p 00000000 00:00 0 [vvar]\n\
            nonsense\n";
        let froms: Vec<u64> = regions(maps).iter().map(|region| region.from).collect();
        assert_eq!(froms, [0x5000, 0x6000, 0x3000, 0x4000, 0x2000]);
    }
}

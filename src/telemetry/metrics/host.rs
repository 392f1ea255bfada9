//! The process as the kernel sees it, and the disk below its data.

use super::page::Page;
use super::table as t;
use std::fs;
use std::path::Path;

/// Bytes, seconds and numbers.
pub(super) struct Host {
    resident: u64,
    virtual_bytes: u64,
    cpu_seconds: f64,
    threads: u64,
    start: f64,
    open_fds: u64,
    max_fds: Option<u64>,
    disk_free: u64,
    disk: u64,
}

/// Asks the kernel; none when it does not say.
pub(super) fn look(dir: &Path) -> Option<Host> {
    let stat = fs::read_to_string("/proc/self/stat").ok()?;
    let boot = fs::read_to_string("/proc/stat").ok()?;
    let boot: f64 = boot.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()?;
    let fds = fs::read_dir("/proc/self/fd").ok()?.count() as u64;
    let disk = rustix::fs::statvfs(dir).ok()?;
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    let (page, ticks) = (rustix::param::page_size() as u64, rustix::param::clock_ticks_per_second());
    // The one by which the directory is read is open too, and is not counted.
    let host = Host { open_fds: fds.saturating_sub(1), max_fds: limit, ..of(&stat, page, ticks as f64, boot)? };
    Some(Host { disk_free: disk.f_bavail * disk.f_frsize, disk: disk.f_blocks * disk.f_frsize, ..host })
}

/// Fields of proc_pid_stat(5), counted from the state, which follows the name's last parenthesis.
fn of(stat: &str, page: u64, ticks: f64, boot: f64) -> Option<Host> {
    let fields: Vec<&str> = stat.rsplit_once(") ")?.1.split_whitespace().collect();
    let number = |at: usize| fields.get(at - 3)?.parse::<u64>().ok();
    let cpu = number(14)? + number(15)?;
    Some(Host {
        resident: number(24)? * page,
        virtual_bytes: number(23)?,
        cpu_seconds: cpu as f64 / ticks,
        threads: number(20)?,
        start: boot + number(22)? as f64 / ticks,
        open_fds: 0,
        max_fds: None,
        disk_free: 0,
        disk: 0,
    })
}

/// Puts them on the page.
pub(super) fn tell(page: &mut Page, host: &Host) {
    page.count(t::RESIDENT, &[], host.resident);
    page.count(t::VIRTUAL, &[], host.virtual_bytes);
    page.add(t::CPU, &[], host.cpu_seconds);
    page.count(t::THREADS, &[], host.threads);
    page.add(t::PROCESS_START, &[], host.start);
    page.count(t::OPEN_FDS, &[], host.open_fds);
    if let Some(most) = host.max_fds {
        page.count(t::MAX_FDS, &[], most);
    }
    page.count(t::DISK_FREE, &[], host.disk_free);
    page.count(t::DISK, &[], host.disk);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_a_parenthesis_does_not_move_the_fields() {
        let stat =
            "7 (a) b (c) S 1 7 7 0 -1 4194560 100 0 0 0 250 50 0 0 20 0 9 0 1000 12345678 42 18446744073709551615";
        let host = of(stat, 4096, 100.0, 1_000_000.0).unwrap();
        assert_eq!((host.cpu_seconds, host.threads, host.start), (3.0, 9, 1_000_010.0));
        assert_eq!((host.virtual_bytes, host.resident), (12_345_678, 42 * 4096));
    }
}

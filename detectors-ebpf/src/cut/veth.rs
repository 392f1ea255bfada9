//! The host's ends of the veth pairs that lead into a cgroup's network: where a packet passes whatever sent it.
//!
//! Reads only. Keeps true: the network is the cgroup's alone; where somebody outside of it is in there too, as in the host's own, none is given,
//! since what hangs there would cut off others.

use super::group::Group;
use super::netlink::{self, DUMP, REQUEST, attributes};
use super::probe::inside;
use rustix::io;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs::{self, File};
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;

/// include/uapi/linux/rtnetlink.h.
const GET_LINK: u16 = 18;
const GET_NSID: u16 = 90;
/// `struct ifinfomsg`, `struct rtgenmsg` with what fills it up.
const LINK: usize = 16;
const GENERAL: usize = 4;
/// include/uapi/linux/if_link.h, net_namespace.h.
const IFNAME: u16 = 3;
const LINKINFO: u16 = 18;
const INFO_KIND: u16 = 1;
const LINK_NETNSID: u16 = 37;
const NSID: u16 = 1;
const NSID_OF_FD: u16 = 3;
/// ARPHRD_LOOPBACK, IFF_UP (include/uapi/linux/if_arp.h, if.h).
const LOOPBACK: u16 = 772;
const UP: u32 = 1;
/// Ancestors that are asked for the namespace around a container: its runtime's is one of them.
const ABOVE: usize = 16;

/// The host's end of a pair.
#[derive(Debug)]
pub(super) struct Device {
    /// The namespace that it is in.
    pub(super) namespace: Arc<File>,
    pub(super) index: u32,
    pub(super) name: String,
}

/// What leads into a cgroup's network.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// Into the networks that its processes alone are in.
    pub(super) devices: Vec<Device>,
    /// Nothing else leads out of any network that its processes are in.
    pub(super) is_all: bool,
}

/// See [`Found`].
pub(super) fn of(dir: &Path) -> Result<Found, String> {
    let group = Group::read(dir)?;
    if group.is_root() {
        return Ok(Found::default());
    }
    let mut own: BTreeMap<u64, File> = group.namespaces()?.into_iter().filter_map(numbered).collect();
    let (around, count) = (around(&group, &own), own.len());
    own.retain(|number, _| !around.contains_key(number));
    if own.is_empty() {
        return Ok(Found::default());
    }
    for stranger in strangers(dir, &group, &own)? {
        own.remove(&stranger);
    }
    let mut found = Found { devices: Vec::new(), is_all: own.len() == count };
    let failed = |e: io::Errno| format!("devices cannot be listed: {e}");
    let hosts: Vec<Arc<File>> = around.into_values().map(Arc::new).collect();
    for namespace in own.values() {
        let before = found.devices.len();
        for host in &hosts {
            let ends = inside(Some(host), || ends(namespace))?.map_err(failed)?;
            let device = |(index, name)| Device { namespace: Arc::clone(host), index, name };
            found.devices.extend(ends.into_iter().map(device));
        }
        let leading_out = inside(Some(namespace), leading_out)?.map_err(failed)?;
        found.is_all &= leading_out == found.devices.len() - before;
    }
    Ok(found)
}

/// How many devices of the calling thread's namespace are up, but for its loopback.
fn leading_out() -> io::Result<usize> {
    let mut count = 0;
    let is_it = |message: &[u8]| {
        let is_up = netlink::word(message, 8).is_none_or(|flags| flags & UP != 0);
        is_up && netlink::half(message, 2) != Some(LOOPBACK)
    };
    netlink::ask(None, GET_LINK, DUMP, &[0; LINK])?.all(|message| count += usize::from(is_it(message)))?;
    Ok(count)
}

fn numbered(namespace: File) -> Option<(u64, File)> {
    Some((namespace.metadata().ok()?.ino(), namespace))
}

/// The namespaces in which the other ends may be: this process's, the first one's, and those of whoever started the cgroup's.
fn around(group: &Group, own: &BTreeMap<u64, File>) -> BTreeMap<u64, File> {
    let open = |path: String| numbered(File::open(path).ok()?);
    let mut found: BTreeMap<u64, File> =
        ["/proc/thread-self/ns/net", "/proc/1/ns/net"].into_iter().filter_map(|path| open(path.to_owned())).collect();
    let mut above = group.pids.first().copied();
    for _ in 0..ABOVE {
        above = above.and_then(parent).filter(|pid| *pid != 0);
        let Some(pid) = above else { break };
        found.extend(open(format!("/proc/{pid}/ns/net")).filter(|(number, _)| !own.contains_key(number)));
    }
    found
}

fn parent(pid: u32) -> Option<u32> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    status.lines().find_map(|line| line.strip_prefix("PPid:")).and_then(|number| number.trim().parse().ok())
}

/// Which of these namespaces somebody outside of the cgroup is in.
fn strangers(dir: &Path, group: &Group, own: &BTreeMap<u64, File>) -> Result<HashSet<u64>, String> {
    let mut found: HashMap<u32, u64> = HashMap::new();
    for entry in fs::read_dir("/proc").map_err(|e| format!("`/proc` cannot be read: {e}"))?.flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        if !is_in(group, pid)
            && let Some(number) = network(pid).filter(|number| own.contains_key(number))
        {
            found.insert(pid, number);
        }
    }
    if found.is_empty() {
        return Ok(HashSet::new());
    }
    // Whoever was started meanwhile is of the cgroup as well.
    let now = Group::read(dir)?;
    found.retain(|pid, number| !is_in(&now, *pid) && network(*pid) == Some(*number));
    Ok(found.into_values().collect())
}

fn is_in(group: &Group, pid: u32) -> bool {
    group.pids.contains(&pid) || group.split.contains(&pid)
}

/// The number of a process's network namespace, as its link says: `net:[4026531840]`.
fn network(pid: u32) -> Option<u64> {
    let link = fs::read_link(format!("/proc/{pid}/ns/net")).ok()?;
    link.to_str()?.strip_prefix("net:[")?.strip_suffix(']')?.parse().ok()
}

/// Of the calling thread's namespace, the devices whose other end is in that one.
fn ends(namespace: &File) -> io::Result<Vec<(u32, String)>> {
    let mut all = Vec::new();
    // This comes first: it is by it that a namespace gets its number here.
    netlink::ask(None, GET_LINK, DUMP, &[0; LINK])?.all(|message| all.extend(read(message)))?;
    let Some(wanted) = number_here(namespace)? else { return Ok(Vec::new()) };
    let ends = all.into_iter().filter(|(_, _, other)| *other == wanted);
    Ok(ends.map(|(index, name, _)| (index, name)).collect())
}

/// A veth's number, its name, and in which namespace its other end is.
fn read(message: &[u8]) -> Option<(u32, String, i32)> {
    let (head, rest) = message.split_at_checked(LINK)?;
    let value = |wanted: u16| attributes(rest).find(|(kind, _)| *kind == wanted).map(|(_, value)| value);
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim_end_matches('\0').to_owned();
    let kind = attributes(value(LINKINFO)?).find(|(kind, _)| *kind == INFO_KIND)?.1;
    let other = i32::from_ne_bytes(value(LINK_NETNSID)?.try_into().ok()?);
    (text(kind) == "veth").then_some(())?;
    Some((netlink::word(head, 4)?, text(value(IFNAME)?), other))
}

/// By which number this thread's namespace knows that one; none: it has not met it.
fn number_here(namespace: &File) -> io::Result<Option<i32>> {
    let mut request = vec![0; GENERAL];
    request.extend(8_u16.to_ne_bytes());
    request.extend(NSID_OF_FD.to_ne_bytes());
    request.extend(namespace.as_raw_fd().to_ne_bytes());
    let mut found = None;
    netlink::ask(None, GET_NSID, REQUEST, &request)?.one(|message| {
        let of_id = attributes(message.get(GENERAL..).unwrap_or_default()).find(|(kind, _)| *kind == NSID);
        found = of_id.and_then(|(_, value)| Some(i32::from_ne_bytes(value.try_into().ok()?)));
    })?;
    Ok(found.filter(|id| *id >= 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_veth_says_where_its_other_end_is() {
        let attribute = |kind: u16, value: &[u8]| {
            let mut bytes = u16::try_from(4 + value.len()).unwrap().to_ne_bytes().to_vec();
            bytes.extend(kind.to_ne_bytes());
            bytes.extend(value);
            bytes.resize(bytes.len().next_multiple_of(4), 0);
            bytes
        };
        let message = |kind: &[u8]| {
            let mut bytes = vec![0; 4];
            bytes.extend(12_u32.to_ne_bytes());
            bytes.extend([0; 8]);
            bytes.extend(attribute(IFNAME, b"veth1a2b\0"));
            bytes.extend(attribute(LINKINFO | 0x8000, &attribute(INFO_KIND, kind)));
            bytes.extend(attribute(LINK_NETNSID, &3_i32.to_ne_bytes()));
            bytes
        };
        assert_eq!(read(&message(b"veth\0")), Some((12, "veth1a2b".to_owned(), 3)));
        assert_eq!(read(&message(b"macvlan\0")), None);
        assert_eq!(read(&message(b"veth\0")[..30]), None);
    }

    #[test]
    fn the_network_of_this_host_has_none() {
        let own = network(std::process::id()).unwrap();
        let group = Group { pids: vec![std::process::id()], ..Group::default() };
        assert!(around(&group, &BTreeMap::new()).contains_key(&own));
        assert_eq!(parent(std::process::id()), Some(std::os::unix::process::parent_id()));
        let namespace = File::open("/proc/self/ns/net").unwrap();
        assert_eq!(ends(&namespace).unwrap(), []);
    }
}

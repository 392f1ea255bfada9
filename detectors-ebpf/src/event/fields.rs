//! The fields of network, file, exit and loss: plain readings of what is at hand.

use super::{FileChange, IN, Loss, OUT, ends, protocol, text};
use crate::process::Ids;
use crate::record::Net;
use quell_model::Field;
use std::borrow::Cow;
use std::fmt;
use std::net::IpAddr;

/// A device number as the kernel packs it, shown as `major:minor`.
pub(super) struct Device(pub(super) u32);

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.0 >> 20, self.0 & 0xf_ffff)
    }
}

pub(super) fn loss<'a>(loss: &'a Loss, name: &str) -> Option<Field<'a>> {
    let number = |n: u64| Field::Int(i64::try_from(n).unwrap_or(i64::MAX));
    Some(match name {
        "class" => Field::text(loss.class.as_str()),
        "count" => number(loss.count),
        "cgroup" => number(loss.cgroup),
        "cgroup_path" => Field::or_null(Some(&*loss.path).filter(|path| !path.is_empty()), Field::text),
        "why" => Field::text(loss.why),
        _ => return None,
    })
}

pub(super) fn network(net: &Net, name: &str) -> Option<Field<'static>> {
    let (from, to) = ends(net);
    let peer = if net.direction == IN { from.ip() } else { to.ip() };
    Some(match name {
        "protocol" => Field::text(protocol(net.protocol)),
        "direction" => Field::text(match net.direction {
            OUT => "outbound",
            IN => "inbound",
            _ => "listen",
        }),
        "source_ip" => text(from.ip()),
        "source_port" => Field::Int(from.port().into()),
        "destination_ip" => text(to.ip()),
        "destination_port" => Field::Int(to.port().into()),
        "loopback" => Field::Bool(peer.is_loopback()),
        "private" => Field::Bool(is_private(peer)),
        _ => return None,
    })
}

/// Addresses that lead nowhere outside: RFC 1918, RFC 6598, RFC 4193, link-local.
fn is_private(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(v4) => {
            let [a, b, ..] = v4.octets();
            v4.is_private() || v4.is_link_local() || (a == 100 && (64..128).contains(&b))
        }
        IpAddr::V6(v6) => v6.is_unique_local() || v6.is_unicast_link_local(),
    }
}

pub(super) fn file<'a>(file: &'a FileChange, name: &str) -> Option<Field<'a>> {
    Some(match name {
        "path" => Field::text(&file.path),
        "operation" => Field::text(file.op.as_str()),
        "mode" => Field::Int((file.mode & 0o7777).into()),
        "inode" => Field::Int(i64::try_from(file.inode).unwrap_or(i64::MAX)),
        "device" => text(Device(file.device)),
        "target" => Field::or_null(file.target.as_deref(), Field::text),
        "watched" => Field::Bool(file.watched),
        _ => return None,
    })
}

/// A wait status: the low seven bits are the signal, the next byte the code.
pub(super) fn exit(status: i32, name: &str) -> Option<Field<'static>> {
    let signal = status & 0x7f;
    Some(match name {
        "code" => Field::Int(((status >> 8) & 0xff).into()),
        "signal" if signal == 0 => Field::Null,
        "signal" => Field::Int(signal.into()),
        _ => return None,
    })
}

pub(super) fn ids(ids: &Ids) -> Field<'static> {
    let part = |name, n: u32| (Cow::Borrowed(name), Field::Int(n.into()));
    Field::Map(vec![
        part("uid", ids.uid),
        part("gid", ids.gid),
        part("euid", ids.euid),
        part("egid", ids.egid),
        (Cow::Borrowed("caps"), capabilities(ids.cap_effective)),
    ])
}

/// include/uapi/linux/capability.h, in the order of its numbers.
const CAPABILITIES: [&str; 41] = [
    "chown",
    "dac_override",
    "dac_read_search",
    "fowner",
    "fsetid",
    "kill",
    "setgid",
    "setuid",
    "setpcap",
    "linux_immutable",
    "net_bind_service",
    "net_broadcast",
    "net_admin",
    "net_raw",
    "ipc_lock",
    "ipc_owner",
    "sys_module",
    "sys_rawio",
    "sys_chroot",
    "sys_ptrace",
    "sys_pacct",
    "sys_admin",
    "sys_boot",
    "sys_nice",
    "sys_resource",
    "sys_time",
    "sys_tty_config",
    "mknod",
    "lease",
    "audit_write",
    "audit_control",
    "setfcap",
    "mac_override",
    "mac_admin",
    "syslog",
    "wake_alarm",
    "block_suspend",
    "audit_read",
    "perfmon",
    "bpf",
    "checkpoint_restore",
];

/// The names of a set's capabilities, without `CAP_`.
pub(super) fn capabilities(set: u64) -> Field<'static> {
    let names = CAPABILITIES.iter().enumerate().filter(|(bit, _)| set >> bit & 1 == 1);
    Field::List(names.map(|(_, name)| Field::text(name)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_is_a_code_or_a_signal() {
        assert_eq!((exit(3 << 8, "code"), exit(3 << 8, "signal")), (Some(Field::Int(3)), Some(Field::Null)));
        assert_eq!((exit(9, "code"), exit(9, "signal")), (Some(Field::Int(0)), Some(Field::Int(9))));
    }

    #[test]
    fn private_addresses_are_told_from_others() {
        for ip in ["10.1.2.3", "100.64.0.1", "192.168.0.1", "fd00::1", "fe80::1"] {
            assert!(is_private(ip.parse().unwrap()), "{ip}");
        }
        for ip in ["127.0.0.1", "100.63.0.1", "8.8.8.8", "2001:db8::1", "::1"] {
            assert!(!is_private(ip.parse().unwrap()), "{ip}");
        }
    }

    #[test]
    fn capabilities_are_named_by_their_bits() {
        assert_eq!(capabilities(1 << 21 | 1), Field::List(vec![Field::text("chown"), Field::text("sys_admin")]));
    }
}

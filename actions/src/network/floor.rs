//! What a host cannot do without on its network: a peer of that kind is kept away from no whole host.
//!
//! Reads only: routes and addresses below /proc, resolv.conf, and what quell and what led to quell are connected to. Keeps true: nobody makes
//! themselves one of these from outside; so whoever has merely connected to this host, to quell's API or to its sshd, is none.

use crate::process::sockets::Sockets;
use crate::process::{Hands, fds};
use crate::world::HostWorld;
use quell_model::Net;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The shortest prefix: one network of IPv4 as it is handed out, and one site of IPv6.
const BITS4: u8 = 24;
const BITS6: u8 = 48;

/// Where clouds tell a machine who it is, and give it its credentials: the link-local one of most, and those of AWS by IPv6 and for
/// containers, of Azure, of Alibaba.
const METADATA: [IpAddr; 5] = [
    IpAddr::V4(Ipv4Addr::new(169, 254, 169, 254)),
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254)),
    IpAddr::V4(Ipv4Addr::new(169, 254, 170, 2)),
    IpAddr::V4(Ipv4Addr::new(168, 63, 129, 16)),
    IpAddr::V4(Ipv4Addr::new(100, 100, 100, 200)),
];

/// `RTF_GATEWAY` (include/uapi/linux/route.h).
const GATEWAY: u32 = 2;

/// Why this host cannot do without that network, if it cannot.
pub(super) fn needed(hands: &Hands, net: &Net) -> Option<String> {
    let least = if net.is_ipv4() { BITS4 } else { BITS6 };
    if net.bits() < least {
        return Some(format!("`{net}` is wider than /{least}: too many for a whole host"));
    }
    if net.address().is_loopback() {
        return Some(format!("`{net}` is this host's loopback"));
    }
    let world = &hands.world;
    let of = |what: &str, all: Vec<IpAddr>| {
        let one = all.into_iter().find(|address| net.contains(*address))?;
        Some(format!("{one} is {what}"))
    };
    of("an address of this host", addresses(world))
        .or_else(|| of("a gateway of this host", gateways(world)))
        .or_else(|| of("a resolver of this host", resolvers(world)))
        .or_else(|| of("where a cloud gives a machine its metadata", METADATA.to_vec()))
        .or_else(|| of("connected to quell, or to what led to quell", connected(hands)))
}

fn text(world: &HostWorld, name: &str) -> String {
    // Of pid 1: quell may be in a network namespace of its own.
    fs::read_to_string(world.of(1, "net").join(name)).unwrap_or_default()
}

/// `/proc/net/fib_trie` has each local address in the line before `/32 host LOCAL`; `/proc/net/if_inet6` begins with it.
fn addresses(world: &HostWorld) -> Vec<IpAddr> {
    let (trie, six) = (text(world, "fib_trie"), text(world, "if_inet6"));
    let lines: Vec<&str> = trie.lines().map(str::trim).collect();
    let local = |pair: &[&str]| {
        let is_local = pair[1].ends_with("host LOCAL");
        pair[0].strip_prefix("|-- ").filter(|_| is_local)?.parse::<IpAddr>().ok()
    };
    let four = lines.windows(2).filter_map(local);
    let six = six.lines().filter_map(|line| six_of(line.get(..32)?));
    four.chain(six).filter(|address| !address.is_unspecified()).collect()
}

/// `/proc/net/route`: words of 32 bits as this machine keeps them; `/proc/net/ipv6_route`: as they are written.
fn gateways(world: &HostWorld) -> Vec<IpAddr> {
    let four = |line: &str| {
        let mut parts = line.split_ascii_whitespace().skip(2);
        let gateway = u32::from_str_radix(parts.next()?, 16).ok()?;
        let flags = u32::from_str_radix(parts.next()?, 16).ok()?;
        (flags & GATEWAY != 0).then(|| IpAddr::from(Ipv4Addr::from(gateway.to_ne_bytes())))
    };
    let six = |line: &str| {
        let next = six_of(line.split_ascii_whitespace().nth(4)?)?;
        (!next.is_unspecified()).then_some(next)
    };
    let (routes, routes6) = (text(world, "route"), text(world, "ipv6_route"));
    routes.lines().filter_map(four).chain(routes6.lines().filter_map(six)).collect()
}

fn six_of(hex: &str) -> Option<IpAddr> {
    u128::from_str_radix(hex, 16).ok().filter(|_| hex.len() == 32).map(|number| Ipv6Addr::from(number).into())
}

/// Those that programs ask, and those that systemd's own resolver asks for them.
fn resolvers(world: &HostWorld) -> Vec<IpAddr> {
    let own = world.etc.join("resolv.conf");
    let upstream = world.etc.with_file_name("run").join("systemd/resolve/resolv.conf");
    let texts = [own, upstream].map(|path| fs::read_to_string(path).unwrap_or_default());
    let read = |line: &str| {
        let mut words = line.split_ascii_whitespace();
        let address = words.next().filter(|word| *word == "nameserver").and(words.next())?;
        // `fe80::1%eth0` says on which link.
        address.split('%').next()?.parse().ok()
    };
    texts.iter().flat_map(|text| text.lines().filter_map(read)).collect()
}

/// To whom quell and what led to quell have connected, and who has connected to what led to quell: a person's way in. Who has connected to
/// quell itself is not among them: anybody may.
fn connected(hands: &Hands) -> Vec<IpAddr> {
    let mut found = Vec::new();
    for own in hands.own().iter().filter(|own| own.pid > 1) {
        let (Ok((open, _)), Ok(sockets)) = (fds::read(&hands.world, own.pid), Sockets::read(&hands.world, own.pid))
        else {
            continue;
        };
        let its = open.iter().filter(|one| one.kind == fds::FdKind::Socket);
        let its: Vec<_> = its.map(|one| sockets.at(one.fd, one.inode())).filter(|one| one.protocol == "tcp").collect();
        let port = |end: &Option<String>| end.as_ref()?.parse::<std::net::SocketAddr>().ok().map(|end| end.port());
        let waits = its.iter().filter(|one| one.state.as_deref() == Some("listen"));
        let waits: Vec<u16> = waits.filter_map(|one| port(&one.local)).collect();
        let talks = its.iter().filter(|one| one.state.as_deref() == Some("established"));
        let outward = talks.filter(|one| port(&one.local).is_none_or(|port| !waits.contains(&port)));
        let peers = outward.filter_map(|one| one.peer.as_ref()?.parse::<std::net::SocketAddr>().ok());
        found.extend(peers.map(|peer| peer.ip().to_canonical()));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Family;
    use std::sync::Arc;

    #[test]
    #[cfg(target_endian = "little")]
    fn what_a_host_cannot_do_without_is_named() {
        let family = Family::new();
        let net = family.dir().join("proc/1/net");
        fs::create_dir_all(&net).unwrap();
        fs::create_dir_all(family.dir().join("etc")).unwrap();
        fs::create_dir_all(family.dir().join("run/systemd/resolve")).unwrap();
        let write = |name: &str, text: &str| fs::write(family.dir().join(name), text).unwrap();
        write(
            "proc/1/net/route",
            "Iface\tDestination\tGateway \tFlags\neth0\t00000000\t017AA8C0\t0003\t0\neth0\t007AA8C0\t00000000\t0001\t0\n",
        );
        write(
            "proc/1/net/ipv6_route",
            "00000000000000000000000000000000 00 00000000000000000000000000000000 00 fe800000000000000000000000000001 00000400 00000001 00000000 00000003 eth0\n",
        );
        write("proc/1/net/fib_trie", "Local:\n  +-- 0.0.0.0/0 3 0 5\n     |-- 192.168.122.9\n        /32 host LOCAL\n");
        write("proc/1/net/if_inet6", "20010db8000000000000000000000009 02 40 00 80     eth0\n");
        write("etc/resolv.conf", "# by hand\nnameserver 192.0.2.53\nnameserver fe80::53%eth0\nsearch example\n");
        write("run/systemd/resolve/resolv.conf", "nameserver 198.51.100.53\n");
        let world = HostWorld { proc: family.dir().join("proc"), etc: family.dir().join("etc"), ..family.world() };
        let hands = Hands::new(world);
        let why = |net: &str| needed(&hands, &net.parse().unwrap());
        for (net, told) in [
            ("128.0.0.0/1", "`128.0.0.0/1` is wider than /24"),
            ("203.0.112.0/23", "is wider than /24"),
            ("2001:db8::/32", "is wider than /48"),
            ("127.0.0.5", "this host's loopback"),
            ("192.168.122.1", "192.168.122.1 is a gateway of this host"),
            ("192.168.122.8/31", "192.168.122.9 is an address of this host"),
            ("fe80::1", "fe80::1 is a gateway"),
            ("2001:db8::/64", "2001:db8::9 is an address"),
            ("192.0.2.0/24", "192.0.2.53 is a resolver"),
            ("fe80::53", "is a resolver"),
            ("198.51.100.53", "is a resolver"),
            ("169.254.169.254", "its metadata"),
            ("fd00:ec2::254", "its metadata"),
        ] {
            let why = why(net).unwrap_or_else(|| panic!("{net}"));
            assert!(why.contains(told), "{net}: {why}");
        }
        assert_eq!((why("203.0.113.0/24"), why("2001:db8:1::/48"), why("192.168.122.7")), (None, None, None));
    }

    #[test]
    fn whom_quell_has_connected_to_is_needed_and_who_has_connected_to_quell_is_not() {
        let family = Family::new();
        let hands = Arc::new(Hands::new(family.world()));
        let listener = std::net::TcpListener::bind("127.0.0.77:0").unwrap();
        let outward = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (inward, _) = listener.accept().unwrap();
        // Both ends are this process's: the peer of the one is 127.0.0.77, and of the other whatever it was given.
        let found = connected(&hands);
        assert!(found.contains(&"127.0.0.77".parse().unwrap()), "{found:?}");
        drop((outward, inward));
        let bound =
            rustix::net::socket(rustix::net::AddressFamily::INET, rustix::net::SocketType::STREAM, None).unwrap();
        let from: std::net::SocketAddr = "127.0.0.78:0".parse().unwrap();
        rustix::net::bind(&bound, &from).unwrap();
        rustix::net::connect(&bound, &listener.local_addr().unwrap()).unwrap();
        let (held, peer) = listener.accept().unwrap();
        let found = connected(&hands);
        assert!(peer.ip() == from.ip() && !found.contains(&from.ip()), "{found:?}");
        drop(held);
    }
}

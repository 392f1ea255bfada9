//! Orders of the kernel's cut at their edges: which of two kinds of address a network means, what of IPv6's own talk passes, two orders on one
//! cgroup, and what a daemon leaves that dies in the midst of it. Acts in cgroups of its own, on loopback addresses alone.

use crate::born::{Born, ICMP6, Line, TCP};
use crate::cut::{HOUR, group, has_ipv6, is_refused, isolate, load, stands, terms};
use crate::mounted::{BpfFs, claim};
use aya::maps::{HashMap, Map, MapData};
use quell_model::{Cut, CutTerms};
use rustix::net::{SendFlags, sockopt};
use std::net::{SocketAddr, SocketAddrV6, TcpListener};
use std::time::{Duration, Instant};

#[test]
fn a_network_of_one_kind_means_none_of_the_other() {
    let (Some(cut), Some(one)) = (load(None), group("cut-kinds")) else { return };
    let four = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut born = Born::new(&one, &[TCP; 8]);
    for (id, allow, passes) in [
        (80, &["::/0"][..], false),
        (81, &["::/0", "127.0.0.0/8"], true),
        (82, &["::/0", "10.0.0.0/8"], false),
        (83, &["0.0.0.0/0", "::/0"], true),
    ] {
        let order = terms(id, HOUR, isolate(allow));
        cut.enter(&one.0, &order).unwrap();
        assert_eq!(stands(&cut, &order).terms, order, "it is read back as it was written");
        if passes {
            Line::new(&mut born, &four);
        } else {
            is_refused(born.connect(four.local_addr().unwrap()));
        }
        // Renewed without it, nothing of the former is left.
        let none = CutTerms { rule: isolate(&["10.9.9.9"]), ..order.clone() };
        cut.enter(&one.0, &none).unwrap();
        assert_eq!(stands(&cut, &none).terms, none);
        is_refused(born.connect(four.local_addr().unwrap()));
        assert!(cut.remove(order.id).unwrap());
    }
}

#[test]
fn of_ipv6s_own_talk_only_what_asks_and_answers_on_the_link_passes() {
    let (Some(cut), Some(one)) = (load(None), group("cut-neighbours")) else { return };
    if !has_ipv6() {
        return;
    }
    let mut born = Born::new(&one, &[ICMP6]);
    let raw = born.next(ICMP6);
    let order = terms(85, HOUR, isolate(&["2001:db8::1"]));
    cut.enter(&one.0, &order).unwrap();
    let to = SocketAddr::V6(SocketAddrV6::new("::1".parse().unwrap(), 0, 0, 0));
    for (kind, hops, length, passes) in [
        (135, 255, 24, true),
        (136, 255, 32, true),
        (135, 64, 24, false),
        (136, 255, 200, false),
        (128, 255, 24, false),
    ] {
        sockopt::set_ipv6_unicast_hops(&raw, Some(hops)).unwrap();
        let mut packet = vec![0_u8; length];
        packet[0] = kind;
        let before = stands(&cut, &order).dropped.packets_out;
        let sent = rustix::net::sendto(&raw, &packet, SendFlags::empty(), &to);
        let dropped = stands(&cut, &order).dropped.packets_out - before;
        assert_eq!((sent.is_ok(), dropped), (passes, u64::from(!passes)), "{kind} {hops} {length}: {sent:?}");
    }
}

#[test]
fn two_orders_on_one_cgroup_are_proved_at_once() {
    let (Some(cut), Some(one)) = (load(None), group("cut-two")) else { return };
    let (first, second) = (terms(86, HOUR, isolate(&[])), terms(87, HOUR, isolate(&["10.0.0.1"])));
    cut.enter(&one.0, &first).unwrap();
    cut.enter(&one.0, &second).unwrap();
    for order in [&first, &second] {
        let begun = Instant::now();
        assert_eq!(cut.probe(&one.0, order.id).unwrap(), None, "the kernel counts what both refuse for one of them");
        // An emulated machine takes its time.
        assert!(begun.elapsed() < Duration::from_secs(4) || crate::harness::inside(), "{:?}", begun.elapsed());
    }
    // One hook without the others is found out, whichever it is: what is refused twice is so by two hooks.
    assert!(stands(&cut, &first).dropped.calls >= 8, "{:?}", stands(&cut, &first).dropped);
    assert!(stands(&cut, &first).dropped.packets_out >= 2 && stands(&cut, &first).dropped.packets_in >= 2);
}

#[test]
fn what_a_daemon_left_that_died_in_the_midst_of_it_is_swept() {
    let Some(mount) = BpfFs::new() else { return };
    let (dir, data) = (mount.dir().join("quell"), tempfile::tempdir().unwrap());
    let Some(one) = group("cut-orphans") else { return };
    let Some(first) = load(Some(claim(&dir, data.path()))) else { return };
    let (kept, torn) = (terms(88, HOUR, isolate(&["10.0.0.1"])), terms(89, HOUR, isolate(&["10.0.0.2", "::/0"])));
    // 1 is the trial's.
    let trial = CutTerms { id: 1, ..terms(90, HOUR, isolate(&[])) };
    for order in [&kept, &torn, &trial] {
        first.enter(&one.0, order).unwrap();
    }
    drop(first);
    let map = |name: &str| MapData::from_pin(dir.join(name)).unwrap();
    let mut orders: HashMap<_, u64, [u64; 31]> = HashMap::try_from(Map::HashMap(map("cut1_orders"))).unwrap();
    orders.remove(&torn.id).unwrap();
    let counts: HashMap<_, u64, [u64; 7]> = HashMap::try_from(Map::HashMap(map("cut1_counts"))).unwrap();
    let peers = || {
        let peers: aya::maps::LpmTrie<_, [u8; 24], u32> =
            aya::maps::LpmTrie::try_from(Map::LpmTrie(map("cut1_peers"))).unwrap();
        peers.keys().count()
    };
    assert_eq!((counts.keys().count(), peers()), (3, 4));
    let next = load(Some(claim(&dir, data.path()))).unwrap();
    assert_eq!((counts.keys().count(), peers()), (1, 1), "of the torn one and of the trial nothing is left");
    let all = next.all().unwrap();
    assert_eq!((all.len(), &all[0].terms), (1, &kept));
    assert!(next.remove(kept.id).unwrap());
    next.end().unwrap();
}

//! The kernel's cut against the real kernel: what was cut off carries no byte more, whoever is beside it goes on, and all of
//! it is given back. Acts in cgroups of its own, on loopback addresses alone.

use crate::born::{Born, Line, TCP, TCP6, UDP, UDP6};
use crate::group::Group;
use crate::harness::{DEADLINE, flood, inside, not_tested};
use crate::mounted::{BpfFs, claim};
use quell_detectors::SensorError;
use quell_detectors::cut::{self, CutError, KernelCut};
use quell_detectors::pin::Pins;
use quell_model::{Cut, CutRule, CutSockets, CutStanding, CutTerms, Net};
use std::io::{self, ErrorKind, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::Arc;
use std::time::{Duration, Instant};

pub(crate) const HOUR: Duration = Duration::from_secs(3600);
pub(crate) fn load(pins: Option<Arc<Pins>>) -> Option<KernelCut> {
    match KernelCut::load(pins) {
        Ok(cut) => Some(cut),
        Err(CutError::Refused(error @ SensorError::NotPermitted)) => {
            not_tested(&format!("the kernel's cut: {error}"));
            None
        }
        Err(error) => panic!("{error:?}"),
    }
}

pub(crate) fn group(name: &str) -> Option<Group> {
    let group = Group::new(name);
    if group.is_none() {
        not_tested("the kernel's cut: no v2 hierarchy that may be written to");
    }
    group
}

fn until(lasting: Duration) -> u64 {
    let text = std::fs::read_to_string("/proc/uptime").unwrap();
    let seconds: f64 = text.split(' ').next().unwrap().parse().unwrap();
    u64::try_from((Duration::from_secs_f64(seconds) + lasting).as_nanos()).unwrap()
}

pub(crate) fn terms(id: u64, lasting: Duration, rule: CutRule) -> CutTerms {
    // 1 is the trial's.
    CutTerms { id: id + 1000, label: format!("cgroup {id}"), owner: format!("r-{id}"), until_ns: until(lasting), rule }
}

pub(crate) fn isolate(allow: &[&str]) -> CutRule {
    let mut allow: Vec<Net> = allow.iter().map(|net| net.parse().unwrap()).collect();
    allow.sort_unstable();
    CutRule::Isolate { allow, loopback: false }
}

pub(crate) fn stands(cut: &KernelCut, terms: &CutTerms) -> CutStanding {
    cut.standing(terms.id).unwrap().unwrap()
}

/// What the order ends; none where the emulated machine's kernel has no sock_diag, or lets nobody end a socket by it.
pub(crate) fn destroy(cut: &KernelCut, group: &Group, rule: &CutRule) -> Option<CutSockets> {
    let ended = cut.destroy(&group.0, rule);
    let is_lack = |left: &String| left.contains("not supported") || left.contains("cannot be listed");
    let lacks = ended.as_ref().is_ok_and(|ended| ended.left.iter().any(is_lack));
    if inside() && lacks {
        not_tested(&format!("the end of open sockets: {ended:?}"));
        return None;
    }
    Some(ended.unwrap())
}

/// Until the order has dropped what fits.
#[track_caller]
fn dropped(cut: &KernelCut, terms: &CutTerms, fits: impl Fn(&quell_model::CutDropped) -> bool) {
    let begun = Instant::now();
    while !fits(&stands(cut, terms).dropped) {
        assert!(begun.elapsed() < DEADLINE, "{:?}", stands(cut, terms));
        std::thread::yield_now();
    }
}

#[track_caller]
pub(crate) fn is_refused<T: std::fmt::Debug>(done: io::Result<T>) {
    assert_eq!(done.unwrap_err().kind(), ErrorKind::PermissionDenied);
}

pub(crate) fn has_ipv6() -> bool {
    let has = TcpListener::bind("[::1]:0").is_ok();
    if !has {
        not_tested("the kernel's cut over IPv6: there is no ::1 here");
    }
    has
}

#[test]
fn what_was_cut_off_reaches_nobody_and_nobody_it() {
    let (Some(cut), Some(one), Some(other)) = (load(None), group("cut-one"), group("cut-other")) else { return };
    for at in ["127.0.0.1:0", "[::1]:0"] {
        if at.starts_with('[') && !has_ipv6() {
            continue;
        }
        let (tcp, udp) = if at.starts_with('[') { (TCP6, UDP6) } else { (TCP, UDP) };
        let listener = TcpListener::bind(at).unwrap();
        let to = listener.local_addr().unwrap();
        let mut born = Born::new(&one, &[tcp, tcp, udp, tcp, tcp, udp, tcp, tcp]);
        let mut beside = Born::new(&other, &[tcp, tcp]);
        let (mut early, mut late, mut sibling) =
            (Line::new(&mut born, &listener), Line::new(&mut born, &listener), Line::new(&mut beside, &listener));
        let outer = UdpSocket::bind(at).unwrap();
        let inner = born.udp(at);
        inner.send_to(b"x", outer.local_addr().unwrap()).unwrap();
        assert_eq!(outer.recv(&mut [0; 8]).unwrap(), 1);
        let inside = {
            let socket = born.next(tcp);
            rustix::net::bind(&socket, &at.parse::<SocketAddr>().unwrap()).unwrap();
            rustix::net::listen(&socket, 8).unwrap();
            TcpListener::from(socket)
        };
        TcpStream::connect(inside.local_addr().unwrap()).unwrap();
        drop(inside.accept().unwrap());

        let terms = terms(1, HOUR, isolate(&[]));
        cut.enter(&one.0, &terms).unwrap();
        assert_eq!(stands(&cut, &terms).unhooked, [""; 0]);
        assert_eq!(stands(&cut, &terms).terms, terms);
        // Whoever asks, with a cut of their own or without, is told that it stands.
        assert!(cut.holds(&one.0).unwrap() && cut::holds(&one.0).unwrap());
        assert!(!cut.holds(&other.0).unwrap() && !cut::holds(&other.0).unwrap());
        // What was open before carries nothing, from the first byte on.
        early.inside.write_all(b"secret").unwrap();
        dropped(&cut, &terms, |dropped| dropped.packets_out > 0 && dropped.bytes_out > 40);
        early.is_silent();
        let told = cut.sockets(&one.0, &terms.rule);
        if let Some(ended) = destroy(&cut, &one, &terms.rule) {
            let told = told.unwrap();
            assert_eq!((told.ends.len(), told.stays.len()), (2, 0), "{told:?}");
            assert_eq!((ended.destroyed.len(), ended.left.len()), (2, 0), "{ended:?}");
            assert!(ended.destroyed.iter().all(|one| one.ends_with(&format!("→ {to}"))), "{ended:?}");
            for line in [&mut early, &mut late] {
                assert_eq!(line.inside.write_all(b"more").unwrap_err().kind(), ErrorKind::ConnectionAborted);
            }
        }
        early.is_silent();
        late.is_silent();
        // Nothing new, either way.
        is_refused(born.connect(to));
        let fresh = UdpSocket::from(born.next(udp));
        is_refused(fresh.send_to(b"x", outer.local_addr().unwrap()));
        is_refused(inner.send_to(b"x", outer.local_addr().unwrap()));
        let before = stands(&cut, &terms).dropped.packets_in;
        outer.send_to(b"x", inner.local_addr().unwrap()).unwrap();
        dropped(&cut, &terms, |dropped| dropped.packets_in > before);
        inner.set_nonblocking(true).unwrap();
        assert_eq!(inner.recv(&mut [0; 8]).unwrap_err().kind(), ErrorKind::WouldBlock);
        let before = stands(&cut, &terms).dropped.packets_in;
        let knocks = rustix::net::socket(tcp.0, tcp.1, None).unwrap();
        rustix::io::ioctl_fionbio(&knocks, true).unwrap();
        let waits = rustix::net::connect(&knocks, &inside.local_addr().unwrap());
        assert_eq!(waits, Err(rustix::io::Errno::INPROGRESS));
        dropped(&cut, &terms, |dropped| dropped.packets_in > before);
        inside.set_nonblocking(true).unwrap();
        assert_eq!(inside.accept().unwrap_err().kind(), ErrorKind::WouldBlock);
        assert!(stands(&cut, &terms).dropped.calls >= 3);
        assert_eq!(cut.probe(&one.0, terms.id).unwrap(), None, "it is proved");
        // Whoever is beside it goes on, also with what is new.
        sibling.talks();
        Line::new(&mut beside, &listener);

        assert!(cut.remove(terms.id).unwrap() && !cut.remove(terms.id).unwrap());
        assert!(!cut.holds(&one.0).unwrap(), "from the first moment on");
        Line::new(&mut born, &listener);
        outer.send_to(b"x", inner.local_addr().unwrap()).unwrap();
        inner.set_nonblocking(false).unwrap();
        assert_eq!(inner.recv(&mut [0; 8]).unwrap(), 1);
        inside.set_nonblocking(false).unwrap();
        drop(knocks);
        TcpStream::connect(inside.local_addr().unwrap()).unwrap();
        assert!(cut.all().unwrap().is_empty());
        assert!(cut.probe(&one.0, terms.id).unwrap_err().contains("does not stand"));
    }
}

#[test]
fn what_is_allowed_goes_on_and_each_order_is_its_own() {
    let (Some(cut), Some(one)) = (load(None), group("cut-allow")) else { return };
    let allowed = TcpListener::bind("127.0.0.2:0").unwrap();
    let refused = TcpListener::bind("127.0.0.3:0").unwrap();
    let mut born = Born::new(&one, &[TCP; 16]);
    let (mut kept, mut lost) = (Line::new(&mut born, &allowed), Line::new(&mut born, &refused));
    let narrow = terms(2, HOUR, isolate(&["127.0.0.2/32", "2001:db8::/32"]));
    let wide = terms(3, HOUR, isolate(&["127.0.0.0/30", "10.0.0.0/8"]));
    for terms in [&narrow, &wide] {
        cut.enter(&one.0, terms).unwrap();
        assert_eq!(stands(&cut, terms).terms, *terms);
    }
    if let Some(ended) = destroy(&cut, &one, &narrow.rule) {
        assert_eq!((ended.destroyed.len(), ended.left.len()), (1, 0), "{ended:?}");
    }
    kept.talks();
    Line::new(&mut born, &allowed);
    lost.is_silent();
    is_refused(born.connect(refused.local_addr().unwrap()));
    // The stricter one holds until it goes; the other stands.
    assert!(cut.remove(narrow.id).unwrap());
    Line::new(&mut born, &refused);
    let beyond = TcpListener::bind("127.0.0.4:0").unwrap();
    is_refused(born.connect(beyond.local_addr().unwrap()));
    assert_eq!(stands(&cut, &wide).dropped.calls, 1);
    // Renewed with other peers it names those, and counts on.
    let other = CutTerms { rule: isolate(&["127.0.0.4"]), ..wide.clone() };
    cut.enter(&one.0, &other).unwrap();
    Line::new(&mut born, &beyond);
    is_refused(born.connect(allowed.local_addr().unwrap()));
    assert_eq!((stands(&cut, &other).dropped.calls, stands(&cut, &other).terms), (2, other.clone()));
    assert!(cut.remove(other.id).unwrap());

    // A cgroup has room for so many; the one too many leaves nothing.
    let many: Vec<CutTerms> = (10..19).map(|id| terms(id, HOUR, isolate(&["0.0.0.0/0"]))).collect();
    for terms in &many[..8] {
        cut.enter(&one.0, terms).unwrap();
    }
    let why = cut.enter(&one.0, &many[8]).unwrap_err();
    assert!(why.contains("8 orders stand on this cgroup already"), "{why}");
    assert_eq!(cut.all().unwrap().len(), 8);
    Line::new(&mut born, &refused);
}

#[test]
fn peers_are_blocked_by_network_port_and_direction() {
    let (Some(cut), Some(one)) = (load(None), group("cut-block")) else { return };
    let (first, second) = (TcpListener::bind("127.0.0.5:0").unwrap(), TcpListener::bind("127.0.0.5:0").unwrap());
    let elsewhere = TcpListener::bind("127.0.0.9:0").unwrap();
    let port = first.local_addr().unwrap().port();
    let mut born = Born::new(&one, &[TCP, TCP, TCP, TCP, UDP, TCP]);
    let mut line = Line::new(&mut born, &first);
    let block = |ports: &[(u16, u16)], outward, inward| CutRule::Block {
        peers: vec!["127.0.0.4/31".parse().unwrap()],
        ports: ports.to_vec(),
        outward,
        inward,
    };
    let ports = terms(20, HOUR, block(&[(1, 1), (port, port)], true, false));
    cut.enter(&one.0, &ports).unwrap();
    assert_eq!(stands(&cut, &ports).terms, ports);
    line.inside.write_all(b"secret").unwrap();
    dropped(&cut, &ports, |dropped| dropped.packets_out > 0);
    line.is_silent();
    is_refused(born.connect(first.local_addr().unwrap()));
    if second.local_addr().unwrap().port() != port {
        Line::new(&mut born, &second);
    }
    assert_eq!(cut.probe(&one.0, ports.id).unwrap(), None);
    if let Some(ended) = destroy(&cut, &one, &ports.rule) {
        assert_eq!(ended.destroyed.len(), 1, "{ended:?}");
    }
    assert!(cut.remove(ports.id).unwrap());
    // What comes from there, alone: an answer that nobody hears. An open line that no kernel of here has ended says it again.
    let inward = terms(21, HOUR, block(&[], false, true));
    cut.enter(&one.0, &inward).unwrap();
    let mut born = Born::new(&one, &[UDP, TCP]);
    let (inner, outer) = (born.udp("127.0.0.1:0"), UdpSocket::bind("127.0.0.5:0").unwrap());
    inner.send_to(b"x", outer.local_addr().unwrap()).unwrap();
    assert_eq!(outer.recv(&mut [0; 8]).unwrap(), 1);
    outer.send_to(b"x", inner.local_addr().unwrap()).unwrap();
    dropped(&cut, &inward, |dropped| dropped.packets_in >= 1);
    inner.set_nonblocking(true).unwrap();
    assert_eq!(inner.recv(&mut [0; 8]).unwrap_err().kind(), ErrorKind::WouldBlock);
    assert!(cut.probe(&one.0, inward.id).unwrap().is_some(), "it can be tried in no way that sends nothing");
    Line::new(&mut born, &elsewhere);
}

#[test]
fn paused_nothing_is_dropped_and_an_order_ends_by_the_kernels_clock() {
    let (Some(cut), Some(one)) = (load(None), group("cut-pause")) else { return };
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let to = listener.local_addr().unwrap();
    let mut born = Born::new(&one, &[TCP; 400]);
    let order = terms(30, HOUR, isolate(&[]));
    cut.enter(&one.0, &order).unwrap();
    is_refused(born.connect(to));
    cut.pause(true).unwrap();
    let mut line = Line::new(&mut born, &listener);
    assert!(cut.probe(&one.0, order.id).unwrap_err().contains("paused") && cut.attempt(&one.0).is_err());
    cut.pause(false).unwrap();
    is_refused(born.connect(to));
    line.inside.write_all(b"secret").unwrap();
    dropped(&cut, &order, |dropped| dropped.packets_out > 0);
    line.is_silent();
    // Its end is past.
    cut.enter(&one.0, &CutTerms { until_ns: until(Duration::ZERO), ..order.clone() }).unwrap();
    let begun = Instant::now();
    while cut.settle().unwrap() != 0 {
        assert!(begun.elapsed() < DEADLINE);
    }
    Line::new(&mut born, &listener);
    assert!(cut.all().unwrap().is_empty());
    // A cgroup that is gone takes its orders with it.
    cut.enter(&one.0, &order).unwrap();
    drop((born, line));
    drop(one);
    assert_eq!((cut.settle().unwrap(), cut.all().unwrap().len()), (0, 0));
}

#[test]
fn in_a_network_namespace_of_its_own_the_loopback_may_pass() {
    let (Some(cut), Some(one)) = (load(None), group("cut-apart")) else { return };
    let mut born = Born::apart(&one, &[TCP, TCP, TCP, TCP, UDP, TCP]);
    let at: SocketAddr = "127.0.0.1:0".parse().unwrap();
    let opens = born.next(TCP);
    rustix::net::bind(&opens, &at).unwrap();
    rustix::net::listen(&opens, 8).unwrap();
    let listener = TcpListener::from(opens);
    let mut line = Line::new(&mut born, &listener);
    let own = terms(70, HOUR, CutRule::Isolate { allow: Vec::new(), loopback: true });
    cut.enter(&one.0, &own).unwrap();
    if let Some(ended) = destroy(&cut, &one, &own.rule) {
        assert_eq!((ended.destroyed.len(), ended.left.len()), (0, 0), "{ended:?}");
    }
    line.talks();
    Line::new(&mut born, &listener);
    assert_eq!(cut.probe(&one.0, own.id).unwrap(), None, "there it is tried too");
    // Beyond the loopback there is nothing, and even that is refused.
    is_refused(born.connect("203.0.113.5:443".parse().unwrap()));
    assert!(cut.remove(own.id).unwrap());
    // Without that, its own loopback is cut too, and its sockets are ended where they are: in that namespace.
    let all = terms(71, HOUR, isolate(&[]));
    cut.enter(&one.0, &all).unwrap();
    if let Some(ended) = destroy(&cut, &one, &all.rule) {
        assert!(ended.destroyed.len() >= 2 && ended.left.is_empty(), "{ended:?}");
        assert_eq!(line.inside.write_all(b"more").unwrap_err().kind(), ErrorKind::ConnectionAborted);
    }
    is_refused(born.udp("127.0.0.1:0").send_to(b"x", listener.local_addr().unwrap()));
    assert_eq!(cut.probe(&one.0, all.id).unwrap(), None);
}

#[test]
fn it_stays_in_force_while_nobody_lives_who_entered_it() {
    flood(from_one_to_the_next);
}

fn from_one_to_the_next() {
    let Some(mount) = BpfFs::new() else { return };
    let (dir, data) = (mount.dir().join("quell"), tempfile::tempdir().unwrap());
    let claim = || claim(&dir, data.path());
    let Some(one) = group("cut-pinned") else { return };
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let to = listener.local_addr().unwrap();
    let mut born = Born::new(&one, &[TCP; 16]);
    let Some(first) = load(Some(claim())) else { return };
    assert!(cut::pinned(&dir).unwrap().is_empty());
    let order = terms(50, HOUR, isolate(&["10.0.0.0/8"]));
    first.enter(&one.0, &order).unwrap();
    is_refused(born.connect(to));
    // As SIGKILL leaves it.
    drop(first);
    is_refused(born.connect(to));
    let left = cut::pinned(&dir).unwrap();
    assert_eq!((left.len(), left[0].dropped.calls, &left[0].terms), (1, 2, &order));
    let pins = claim();
    let next = load(Some(Arc::clone(&pins))).unwrap();
    let known = stands(&next, &order);
    assert_eq!((known.unhooked.len(), known.dropped.calls, &known.terms), (0, 2, &order));
    assert_eq!(next.probe(&one.0, order.id).unwrap(), None);
    is_refused(born.connect(to));
    // An end with something standing leaves it; without, it leaves nothing.
    next.end().unwrap();
    drop((next, pins));
    is_refused(born.connect(to));
    let pins = claim();
    let last = load(Some(Arc::clone(&pins))).unwrap();
    pins.pause(true).unwrap();
    Line::new(&mut born, &listener);
    pins.pause(false).unwrap();
    // One that is missing is told, and hooked in again with the next order.
    let name = format!("cut1_hook_{}_connect4", known.group);
    std::fs::remove_file(dir.join(name)).unwrap();
    assert_eq!(stands(&last, &order).unhooked, ["connect4"]);
    last.enter(&one.0, &order).unwrap();
    assert!(stands(&last, &order).unhooked.is_empty());
    assert!(last.remove(order.id).unwrap());
    Line::new(&mut born, &listener);
    last.end().unwrap();
    drop(last);
    Arc::into_inner(pins).unwrap().give_back().unwrap();
    assert!(!dir.exists());
}

#[test]
fn it_tries_itself_and_leaves_nothing() {
    let Some(cut) = load(None) else { return };
    let Some(trial) = group("cut-trial") else { return };
    cut.attempt(&trial.0).unwrap();
    assert!(cut.all().unwrap().is_empty());
    // A cgroup that is frozen can be tried in no way.
    let one = group("cut-frozen").unwrap();
    let order = terms(60, HOUR, isolate(&[]));
    cut.enter(&one.0, &order).unwrap();
    std::fs::write(one.0.join("cgroup.freeze"), "1").unwrap();
    let begun = Instant::now();
    while !std::fs::read_to_string(one.0.join("cgroup.events")).unwrap().contains("frozen 1") {
        assert!(begun.elapsed() < DEADLINE);
    }
    assert!(cut.probe(&one.0, order.id).unwrap().unwrap().contains("frozen"));
    std::fs::write(one.0.join("cgroup.freeze"), "0").unwrap();
}

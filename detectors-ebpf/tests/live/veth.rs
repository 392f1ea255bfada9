//! The cut at the host's end of a veth: what no socket of the cgroup sends is dropped there too, and nobody else's.
//!
//! Acts in network namespaces of its own: a thread's stands for the host's, a child's for the container's.

#![allow(unsafe_code, reason = "a thread takes a network namespace of its own, and a packet socket is bound by libc")]

use crate::born::Born;
use crate::cut::{HOUR, group, isolate, load, stands, terms};
use crate::group::Group;
use crate::harness::{DEADLINE, inside, not_tested};
use crate::mounted::{BpfFs, claim};
use quell_detectors::cut::KernelCut;
use quell_model::{Cut, CutDevices};
use rustix::thread::{LinkNameSpaceType, UnshareFlags, move_into_link_name_space, unshare_unsafe};
use std::fs::File;
use std::io;
use std::net::UdpSocket;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// An ethertype for experiments (IEEE 802).
const ETHERTYPE: u16 = 0x88b5;
/// A container's network: a veth from here into the namespace of a child in a cgroup.
struct Network {
    born: Born,
    /// Of this side, at 10.203.0.1.
    outer: UdpSocket,
    /// Of that side, at 10.203.0.2, of no process of the cgroup.
    inner: UdpSocket,
    outer_wire: Wire,
    inner_wire: Wire,
}

/// Does it with a network namespace of its own.
fn apart(what: impl FnOnce() + Send) {
    std::thread::scope(|scope| {
        let moved = || {
            // SAFETY: nothing but the network namespace becomes another, of this thread alone.
            unsafe { unshare_unsafe(UnshareFlags::NEWNET) }.unwrap();
            what();
        };
        scope.spawn(moved).join().unwrap();
    });
}

fn ip(words: &str) {
    let done = Command::new("ip").args(words.split(' ')).output().unwrap();
    assert!(done.status.success(), "ip {words}: {}", String::from_utf8_lossy(&done.stderr));
}

/// Packets of the experiment on a device of this thread's namespace.
struct Wire(OwnedFd, libc::sockaddr_ll);

impl Wire {
    fn new(device: &str) -> Self {
        let kind = libc::SOCK_DGRAM | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
        // SAFETY: a plain call; the descriptor is nobody else's.
        let socket = unsafe { OwnedFd::from_raw_fd(libc::socket(libc::AF_PACKET, kind, 0)) };
        // SAFETY: an address of all zeros is one.
        let mut everybody: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
        everybody.sll_family = u16::try_from(libc::AF_PACKET).unwrap();
        everybody.sll_protocol = ETHERTYPE.to_be();
        everybody.sll_ifindex = number(device).unwrap();
        everybody.sll_halen = 6;
        everybody.sll_addr[..6].fill(0xff);
        let wire = Self(socket, everybody);
        let (at, length) = wire.at();
        // SAFETY: the address lives through the call.
        assert_eq!(unsafe { libc::bind(wire.0.as_raw_fd(), at, length) }, 0, "{}", io::Error::last_os_error());
        wire
    }

    fn at(&self) -> (*const libc::sockaddr, u32) {
        (std::ptr::from_ref(&self.1).cast(), u32::try_from(size_of_val(&self.1)).unwrap())
    }

    fn says(&self) {
        let (at, length) = self.at();
        // SAFETY: the bytes and the address live through the call.
        let sent = unsafe { libc::sendto(self.0.as_raw_fd(), b"by hand".as_ptr().cast(), 7, 0, at, length) };
        assert_eq!(sent, 7, "{}", io::Error::last_os_error());
    }

    fn hears(&self) -> bool {
        let mut bytes = [0_u8; 64];
        rustix::net::recv(&self.0, &mut bytes[..], rustix::net::RecvFlags::empty()).is_ok_and(|(read, _)| read >= 7)
    }
}

fn number(device: &str) -> io::Result<i32> {
    let name = std::ffi::CString::new(device)?;
    // SAFETY: the name lives through the call.
    match unsafe { libc::if_nametoindex(name.as_ptr()) } {
        0 => Err(io::Error::last_os_error()),
        index => i32::try_from(index).map_err(io::Error::other),
    }
}

impl Network {
    fn new(group: &Group) -> Self {
        let born = Born::apart(group, &[]);
        let pid = born.pid();
        ip(&format!("link add v-host type veth peer name eth0 netns {pid}"));
        ip("address add 10.203.0.1/30 dev v-host");
        ip("link set v-host up");
        let inside = File::open(format!("/proc/{pid}/ns/net")).unwrap();
        let (inner, inner_wire) = within(&inside, || {
            ip("address add 10.203.0.2/30 dev eth0");
            ip("link set eth0 up");
            (UdpSocket::bind("10.203.0.2:4711").unwrap(), Wire::new("eth0"))
        });
        let outer = UdpSocket::bind("10.203.0.1:4711").unwrap();
        inner.set_read_timeout(Some(DEADLINE)).unwrap();
        outer.set_read_timeout(Some(DEADLINE)).unwrap();
        let network = Self { born, outer, inner, outer_wire: Wire::new("v-host"), inner_wire };
        network.talks();
        network
    }

    /// Everything passes, both ways.
    fn talks(&self) {
        for (from, to) in [(&self.inner, &self.outer), (&self.outer, &self.inner)] {
            from.send_to(b"hello", to.local_addr().unwrap()).unwrap();
            assert_eq!(to.recv(&mut [0; 16]).unwrap(), 5);
        }
        let begun = Instant::now();
        self.inner_wire.says();
        while !self.outer_wire.hears() {
            assert!(begun.elapsed() < DEADLINE, "the packet by hand does not arrive");
            std::thread::yield_now();
        }
    }

    /// Nothing passes, and all of it is counted for this order.
    fn is_cut(&self, cut: &KernelCut, id: u64) {
        let dropped = || cut.standing(id).unwrap().unwrap().dropped;
        let until = |enough: &dyn Fn() -> bool| {
            let begun = Instant::now();
            while !enough() {
                assert!(begun.elapsed() < DEADLINE, "{:?}", dropped());
                std::thread::yield_now();
            }
        };
        let before = dropped();
        self.inner.send_to(b"hello", self.outer.local_addr().unwrap()).unwrap();
        until(&|| dropped().packets_out > before.packets_out);
        let before = dropped();
        self.inner_wire.says();
        until(&|| dropped().packets_out > before.packets_out);
        let before = dropped();
        self.outer.send_to(b"hello", self.inner.local_addr().unwrap()).unwrap();
        until(&|| dropped().packets_in > before.packets_in);
        for socket in [&self.inner, &self.outer] {
            socket.set_nonblocking(true).unwrap();
            assert_eq!(socket.recv(&mut [0; 16]).unwrap_err().kind(), io::ErrorKind::WouldBlock);
            socket.set_nonblocking(false).unwrap();
        }
        assert!(!self.outer_wire.hears());
    }
}

/// Does it on a thread of its own in that network namespace.
fn within<T: Send>(namespace: &File, what: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| {
        let moved = || {
            move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
            what()
        };
        scope.spawn(moved).join().unwrap()
    })
}

/// False where the kernel hooks no devices.
fn is_hooked(devices: &CutDevices) -> bool {
    if inside() && devices.left.iter().any(|why| why.contains("Linux 6.6")) {
        not_tested(&format!("the cut of a device: {devices:?}"));
        return false;
    }
    assert_eq!((devices.hooked.as_slice(), devices.left.len()), (["v-host".to_owned()].as_slice(), 0), "{devices:?}");
    true
}

#[test]
fn what_no_socket_of_the_cgroup_sends_is_cut_at_the_hosts_end_of_its_veth() {
    if Command::new("ip").arg("-V").output().is_err() {
        return not_tested("the cut of a device: there is no `ip` here");
    }
    apart(|| {
        let (Some(cut), Some(one), Some(other)) = (load(None), group("cut-veth"), group("cut-beside")) else { return };
        let (network, order) = (Network::new(&one), terms(70, HOUR, isolate(&[])));
        assert_eq!(cut.hook_devices(&one.0).unwrap(), CutDevices::default(), "no order stands");
        cut.enter(&one.0, &order).unwrap();
        // The hooks of a cgroup see the sockets of its own alone.
        network.talks();
        if !is_hooked(&cut.hook_devices(&one.0).unwrap()) {
            return;
        }
        let known = stands(&cut, &order);
        assert_eq!((known.devices, known.unhooked), (vec!["v-host".to_owned()], vec![]));
        network.is_cut(&cut, order.id);
        assert!(cut.is_closed(&one.0).unwrap());
        assert!(!cut.is_closed(&other.0).unwrap(), "nobody is in it");
        // A second order, and a pause.
        let wide = terms(71, HOUR, isolate(&["10.203.0.0/30"]));
        cut.enter(&one.0, &wide).unwrap();
        network.is_cut(&cut, order.id);
        cut.pause(true).unwrap();
        network.talks();
        cut.pause(false).unwrap();
        assert!(cut.remove(order.id).unwrap());
        // What is named passes, with what asks who has the address; nothing else does.
        ip("neighbour flush all");
        for (from, to) in [(&network.inner, &network.outer), (&network.outer, &network.inner)] {
            from.send_to(b"hello", to.local_addr().unwrap()).unwrap();
            assert_eq!(to.recv(&mut [0; 16]).unwrap(), 5);
        }
        let before = stands(&cut, &wide).dropped.packets_out;
        network.inner_wire.says();
        let begun = Instant::now();
        while stands(&cut, &wide).dropped.packets_out == before {
            assert!(begun.elapsed() < DEADLINE);
        }
        assert!(cut.remove(wide.id).unwrap());
        network.talks();

        // Where somebody else is in that network, its end is theirs too.
        let beside = Command::new("nsenter")
            .args(["--net", "--target", &network.born.pid().to_string(), "sh", "-c"])
            .arg(format!("echo $$ > {}/cgroup.procs && exec sleep 60", other.0.display()))
            .spawn();
        let mut beside = beside.unwrap();
        let procs = other.0.join("cgroup.procs");
        let begun = Instant::now();
        while std::fs::read_to_string(&procs).unwrap().is_empty() {
            assert!(begun.elapsed() < DEADLINE);
            std::thread::sleep(Duration::from_millis(1));
        }
        cut.enter(&one.0, &order).unwrap();
        assert_eq!(cut.hook_devices(&one.0).unwrap(), CutDevices::default());
        assert!(!cut.is_closed(&one.0).unwrap());
        network.talks();
        beside.kill().unwrap();
        beside.wait().unwrap();
        assert!(is_hooked(&cut.hook_devices(&one.0).unwrap()));
        // The container ends, and its network with it: that is no hook that is missing.
        drop(network);
        let begun = Instant::now();
        while !stands(&cut, &order).devices.is_empty() {
            assert!(begun.elapsed() < DEADLINE);
            std::thread::sleep(Duration::from_millis(1));
        }
        assert_eq!(stands(&cut, &order).unhooked, [""; 0]);
        cut.settle().unwrap();
        assert!(cut.remove(order.id).unwrap());
    });
}

#[test]
fn a_device_stays_cut_while_nobody_lives_who_hooked_it() {
    if Command::new("ip").arg("-V").output().is_err() {
        return not_tested("the cut of a device: there is no `ip` here");
    }
    apart(|| {
        let Some(mount) = BpfFs::new() else { return };
        let (dir, data) = (mount.dir().join("quell"), tempfile::tempdir().unwrap());
        let Some(one) = group("cut-veth-pinned") else { return };
        let (network, order) = (Network::new(&one), terms(72, HOUR, isolate(&[])));
        let Some(first) = load(Some(claim(&dir, data.path()))) else { return };
        first.enter(&one.0, &order).unwrap();
        if !is_hooked(&first.hook_devices(&one.0).unwrap()) {
            return;
        }
        // As SIGKILL leaves it.
        drop(first);
        network.outer.send_to(b"hello", network.inner.local_addr().unwrap()).unwrap();
        let pins = claim(&dir, data.path());
        let next = load(Some(Arc::clone(&pins))).unwrap();
        assert_eq!(stands(&next, &order).devices, ["v-host"]);
        network.is_cut(&next, order.id);
        // One that is missing is told, and hooked in again.
        let mut pinned = std::fs::read_dir(&dir).unwrap().flatten().map(|entry| entry.path());
        let hook = pinned.find(|path| path.to_str().unwrap().ends_with("_out")).unwrap();
        std::fs::remove_file(hook).unwrap();
        let known = stands(&next, &order);
        assert_eq!((known.devices.len(), known.unhooked), (0, vec!["v-host".to_owned()]));
        assert!(is_hooked(&next.hook_devices(&one.0).unwrap()));
        network.is_cut(&next, order.id);
        assert!(next.remove(order.id).unwrap());
        network.talks();
        next.end().unwrap();
        drop(next);
        Arc::into_inner(pins).unwrap().give_back().unwrap();
        assert!(!dir.exists());
    });
}

//! The kernel's cut and what was opened elsewhere: what the processes of a cgroup brought along is ended where the kernel can end it, and told
//! where it cannot. Acts in cgroups of its own, on loopback addresses alone.

#![allow(unsafe_code, reason = "a child that makes a thread with files of its own, by clone(2)")]

use crate::born::{Born, Line, TCP, UDP};
use crate::cut::{HOUR, destroy, group, is_refused, isolate, load, terms};
use crate::group::Group;
use crate::harness::DEADLINE;
use quell_model::Cut;
use rustix::net::{AddressFamily, SocketType};
use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Instant;

const PACKET: (AddressFamily, SocketType) = (AddressFamily::PACKET, SocketType::RAW);
const SHARED: &str = "processes that are not cut off have it open too";
const ELSEWHERE: &str = "it was opened elsewhere, and the kernel lets nobody end it";

/// Of a child's next socket a listener on 127.0.0.1.
fn listens(born: &mut Born) -> TcpListener {
    let socket = born.next(TCP);
    rustix::net::bind(&socket, &"127.0.0.1:0".parse::<SocketAddr>().unwrap()).unwrap();
    rustix::net::listen(&socket, 8).unwrap();
    socket.into()
}

#[test]
fn what_was_brought_along_from_elsewhere_is_ended_too() {
    let (Some(cut), Some(one)) = (load(None), group("cut-brought")) else { return };
    let (listener, allowed) = (TcpListener::bind("127.0.0.1:0").unwrap(), TcpListener::bind("127.0.0.2:0").unwrap());
    let mut born = Born::brought(&one, &[TCP, TCP, TCP, UDP]);
    let (mut lost, mut kept) = (Line::new(&mut born, &listener), Line::new(&mut born, &allowed));
    // This process has it no more: nobody else would hear.
    let opens = listens(&mut born).local_addr().unwrap();
    let bound = born.udp("127.0.0.1:0");
    let at = bound.local_addr().unwrap();
    let order = terms(40, HOUR, isolate(&["127.0.0.2"]));
    cut.enter(&one.0, &order).unwrap();
    // The hooks do not see it: it is of another cgroup.
    lost.talks();
    let Some(mut ended) = destroy(&cut, &one, &order.rule) else { return };
    // What a test beside this one has just forked has everything for a moment.
    let begun = Instant::now();
    while ended.left.iter().any(|left| left.contains(SHARED)) {
        assert!(begun.elapsed() < DEADLINE, "{ended:?}");
        let again = destroy(&cut, &one, &order.rule).unwrap();
        ended.destroyed.extend(again.destroyed);
        ended.left = again.left;
    }
    assert_eq!(ended.destroyed.len(), 2, "{ended:?}");
    assert_eq!(lost.inside.write_all(b"more").unwrap_err().kind(), ErrorKind::ConnectionAborted);
    assert!(TcpStream::connect(opens).is_err(), "nobody listens there now");
    kept.talks();
    let udp = format!("udp {at}: it was opened elsewhere, and the kernel ends it for a moment only");
    assert_eq!(ended.left, [udp], "UDP cannot be ended for good, and is told");
    // It has lost its port, and may take another.
    let unbound = format!("a udp socket that is not bound of process {}: {ELSEWHERE}", born.pid());
    let open = cut.sockets(&one.0, &order.rule).unwrap();
    assert_eq!((open.ends.len(), open.stays), (0, vec![unbound]));
}

#[test]
fn what_nobody_lists_is_told_as_what_goes_on() {
    let (Some(cut), Some(one)) = (load(None), group("cut-loose")) else { return };
    let order = terms(41, HOUR, isolate(&[]));
    cut.enter(&one.0, &order).unwrap();
    let brought = Born::brought(&one, &[TCP, UDP]);
    let Some(ended) = destroy(&cut, &one, &order.rule) else { return };
    let (pid, of) = (brought.pid(), |what: &str, pid| format!("a {what} of process {pid}: "));
    let told =
        [of("tcp socket that is not connected", pid) + ELSEWHERE, of("udp socket that is not bound", pid) + ELSEWHERE];
    assert_eq!(sorted(ended.left), told, "they may be used yet, and no hook sees them");
    let open = cut.sockets(&one.0, &order.rule).unwrap();
    assert_eq!((open.ends.len(), sorted(open.stays)), (0, told.to_vec()));
    drop(brought);
    // What was made here is seen, whatever it is; a packet socket is seen nowhere.
    let inner = Born::new(&one, &[TCP, UDP, PACKET]);
    let open = cut.sockets(&one.0, &order.rule).unwrap();
    let packet = of("packet socket", inner.pid()) + "no cut sees what it sends and receives";
    assert_eq!((open.ends.len(), open.stays), (0, vec![packet]));
}

fn sorted(mut lines: Vec<String>) -> Vec<String> {
    lines.sort_unstable();
    lines
}

#[test]
fn a_listener_that_others_have_open_too_is_left_to_them() {
    let (Some(cut), Some(one)) = (load(None), group("cut-shared")) else { return };
    let order = terms(42, HOUR, isolate(&[]));
    cut.enter(&one.0, &order).unwrap();
    // This process has it too, and is not cut off: as the siblings of a worker that was moved have it.
    let mut born = Born::brought(&one, &[TCP]);
    let shared = listens(&mut born);
    let at = shared.local_addr().unwrap();
    let Some(ended) = destroy(&cut, &one, &order.rule) else { return };
    let told =
        format!("tcp {at} (listening): it was opened elsewhere, and processes that are not cut off have it open too");
    assert_eq!((ended.destroyed.len(), ended.left), (0, vec![told]));
    let mut knocks = TcpStream::connect(at).unwrap();
    shared.accept().unwrap().0.write_all(b"x").unwrap();
    assert_eq!(knocks.read(&mut [0; 8]).unwrap(), 1, "whoever is beside it goes on");
    drop(shared);
    let begun = Instant::now();
    while destroy(&cut, &one, &order.rule).unwrap().destroyed.is_empty() {
        assert!(begun.elapsed() < DEADLINE, "nobody else has it now");
    }
}

#[test]
fn a_threaded_cgroup_below_hides_nobody() {
    let (Some(cut), Some(one)) = (load(None), group("cut-threads")) else { return };
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let below = Group(one.0.join("below"));
    let mut born = Born::new(&one, &[TCP, TCP, TCP]);
    let mut line = Line::new(&mut born, &listener);
    fs::create_dir(&below.0).unwrap();
    fs::write(below.0.join("cgroup.type"), "threaded").unwrap();
    fs::write(below.0.join("cgroup.threads"), born.pid().to_string()).unwrap();
    let refused = fs::read_to_string(below.0.join("cgroup.procs")).unwrap_err();
    assert_eq!(refused.raw_os_error(), Some(libc::EOPNOTSUPP), "as the kernel has it");
    let order = terms(43, HOUR, isolate(&[]));
    cut.enter(&one.0, &order).unwrap();
    if let Some(ended) = destroy(&cut, &one, &order.rule) {
        assert_eq!(cut.sockets(&one.0, &order.rule).unwrap().stays, [""; 0]);
        assert_eq!((ended.destroyed.len(), ended.left.len()), (1, 0), "{ended:?}");
        assert_eq!(line.inside.write_all(b"more").unwrap_err().kind(), ErrorKind::ConnectionAborted);
    }
    is_refused(born.connect(listener.local_addr().unwrap()));
    assert!(cut.remove(order.id).unwrap());
    // The threaded one alone: what its thread has open, it was made above.
    let mut line = Line::new(&mut born, &listener);
    let order = terms(44, HOUR, isolate(&[]));
    cut.enter(&below.0, &order).unwrap();
    if let Some(ended) = destroy(&cut, &below, &order.rule) {
        let refused = format!("a tcp socket that is not connected of process {}: {ELSEWHERE}", born.pid());
        assert_eq!((ended.destroyed.len(), ended.left), (1, vec![refused]), "the one that was refused above");
        assert_eq!(line.inside.write_all(b"more").unwrap_err().kind(), ErrorKind::ConnectionAborted);
    }
    assert_eq!(cut.probe(&below.0, order.id).unwrap(), None, "whoever joins it is cut off");
}

/// A process whose thread alone has a connection open: it was made elsewhere, and the thread's files are its own.
struct Apart(libc::pid_t);

impl Drop for Apart {
    fn drop(&mut self) {
        // SAFETY: it is a child of ours that nobody has waited for.
        unsafe {
            libc::kill(self.0, libc::SIGKILL);
            libc::waitpid(self.0, std::ptr::null_mut(), 0);
        }
    }
}

extern "C" fn sleeps(_: *mut libc::c_void) -> libc::c_int {
    loop {
        // SAFETY: a system call.
        unsafe { libc::pause() };
    }
}

impl Apart {
    fn new(to: SocketAddr) -> Self {
        let SocketAddr::V4(four) = to else { panic!("an address of IPv4") };
        let address = libc::sockaddr_in {
            sin_family: libc::AF_INET as libc::sa_family_t,
            sin_port: four.port().to_be(),
            sin_addr: libc::in_addr { s_addr: u32::from_ne_bytes(four.ip().octets()) },
            sin_zero: [0; 8],
        };
        let mut stack = vec![0_u8; 1 << 16];
        let top = stack.as_mut_ptr_range().end;
        let flags = libc::CLONE_VM | libc::CLONE_FS | libc::CLONE_SIGHAND | libc::CLONE_THREAD | libc::CLONE_SYSVSEM;
        // SAFETY: the child makes system calls alone, on memory that was made before the fork; its thread has a stack of its own.
        let child = unsafe {
            match libc::fork() {
                0 => {
                    libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
                    // What the tests beside this one have open is not its own.
                    libc::syscall(libc::SYS_close_range, 3, u32::MAX, 0);
                    let socket = libc::socket(libc::AF_INET, libc::SOCK_STREAM, 0);
                    libc::connect(
                        socket,
                        (&raw const address).cast(),
                        size_of::<libc::sockaddr_in>() as libc::socklen_t,
                    );
                    libc::clone(sleeps, top.cast(), flags, std::ptr::null_mut());
                    libc::close(socket);
                    sleeps(std::ptr::null_mut());
                    libc::_exit(1)
                }
                pid => pid,
            }
        };
        assert!(child > 0);
        Self(child)
    }

    fn joins(&self, group: &Group) {
        fs::write(group.0.join("cgroup.procs"), self.0.to_string()).unwrap();
    }

    /// How many files its leader has, and its thread.
    fn files(&self) -> Option<[usize; 2]> {
        let mut threads: Vec<_> = fs::read_dir(format!("/proc/{}/task", self.0)).unwrap().flatten().collect();
        threads.sort_unstable_by_key(fs::DirEntry::file_name);
        let count = |thread: &fs::DirEntry| fs::read_dir(thread.path().join("fd")).unwrap().count();
        let [leader, thread] = threads.as_slice() else { return None };
        Some([count(leader), count(thread)])
    }
}

#[test]
fn a_connection_that_a_thread_alone_has_open_is_ended() {
    let (Some(cut), Some(one)) = (load(None), group("cut-apart-thread")) else { return };
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let apart = Apart::new(listener.local_addr().unwrap());
    let (mut line, _) = listener.accept().unwrap();
    let begun = Instant::now();
    while apart.files().is_none_or(|[leader, thread]| thread != leader + 1) {
        assert!(begun.elapsed() < DEADLINE, "{:?}", apart.files());
        std::thread::yield_now();
    }
    apart.joins(&one);
    let order = terms(45, HOUR, isolate(&[]));
    cut.enter(&one.0, &order).unwrap();
    let Some(ended) = destroy(&cut, &one, &order.rule) else { return };
    assert_eq!((ended.destroyed.len(), ended.left.len()), (1, 0), "{ended:?}");
    line.set_nonblocking(true).unwrap();
    let written = line.write_all(b"x").and_then(|()| line.read(&mut [0; 8])).map_err(|error| error.kind());
    assert!(!matches!(written, Ok(1..)), "{written:?}");
    drop(apart);
}

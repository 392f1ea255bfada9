//! Which process of this host holds the other end of a TCP connection.
//!
//! Reads /proc only, and judges nothing. Keeps true: of a connection that comes from this host something is told, if only that nobody is
//! left who holds its other end.

use super::sockets::{MOST, endpoint};
use super::stat::there;
use crate::world::HostWorld;
use std::fs::{self, File};
use std::io::{self, Read};
use std::net::SocketAddr;

/// The other end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct End {
    /// Whose socket it is.
    pub(super) uid: u32,
    /// Who holds it.
    pub(super) holder: Holder,
}

/// Who holds a socket.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Holder {
    /// This process; of several the one with the lowest number.
    Process(u32),
    /// Nobody: it has been closed.
    Nobody,
    /// Maybe one whose descriptors may not be read.
    Hidden,
}

/// The end at `from` of a connection to `to`, by which somebody came to this process; none: it is not in this network.
pub(super) fn end(world: &HostWorld, from: SocketAddr, to: SocketAddr) -> io::Result<Option<End>> {
    let ends = (canonical(from), canonical(to));
    for list in ["tcp", "tcp6"] {
        let Some(file) = there(File::open(world.proc.join("self/net").join(list)))? else { continue };
        let mut bytes = Vec::new();
        there(file.take(MOST).read_to_end(&mut bytes))?;
        let text = String::from_utf8_lossy(&bytes);
        if let Some((uid, inode)) = text.lines().skip(1).find_map(|line| row(line, ends)) {
            return holder(world, inode).map(|holder| Some(End { uid, holder }));
        }
    }
    Ok(None)
}

/// An IPv4 address is one, however a socket of both kinds writes it.
fn canonical(at: SocketAddr) -> SocketAddr {
    SocketAddr::new(at.ip().to_canonical(), at.port())
}

/// The user and the inode of a line (net/ipv4/tcp_ipv4.c `get_tcp4_sock`), if it is this end.
fn row(line: &str, (from, to): (SocketAddr, SocketAddr)) -> Option<(u32, u64)> {
    let mut parts = line.split_ascii_whitespace();
    let (local, peer) = (endpoint(parts.nth(1)?)?, endpoint(parts.next()?)?);
    ((local, peer) == (from, to)).then_some(())?;
    let uid = parts.nth(4)?.parse().ok()?;
    Some((uid, parts.nth(1)?.parse().ok()?))
}

fn holder(world: &HostWorld, inode: u64) -> io::Result<Holder> {
    // Closed, and the kernel sends what is left.
    if inode == 0 {
        return Ok(Holder::Nobody);
    }
    let wanted = format!("socket:[{inode}]");
    let mut pids: Vec<u32> =
        fs::read_dir(&world.proc)?.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).collect();
    pids.sort_unstable();
    let mut holder = Holder::Nobody;
    for pid in pids {
        match fs::read_dir(world.of(pid, "fd")) {
            Ok(mut open) => {
                let is_it = |link: std::path::PathBuf| link.as_os_str() == wanted.as_str();
                if open.any(|one| one.ok().and_then(|one| fs::read_link(one.path()).ok()).is_some_and(is_it)) {
                    return Ok(Holder::Process(pid));
                }
            }
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => holder = Holder::Hidden,
            // It has ended meanwhile.
            Err(_) => {}
        }
    }
    Ok(holder)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Family;
    use std::net::{TcpListener, TcpStream};

    #[test]
    fn whoever_came_by_the_loopback_is_found_and_whoever_has_gone_is_not() {
        let family = Family::new();
        let world = family.world();
        let holder = |from, to| end(&world, from, to).unwrap().map(|end| end.holder);
        for address in ["127.0.0.1:0", "[::]:0"] {
            let Ok(listener) = TcpListener::bind(address) else {
                eprintln!("NOT TESTED: {address}: this machine has no IPv6");
                continue;
            };
            let port = listener.local_addr().unwrap().port();
            let ours = TcpStream::connect(("127.0.0.1", port)).unwrap();
            let (theirs, from) = listener.accept().unwrap();
            let to = theirs.local_addr().unwrap();
            assert_eq!(holder(from, to), Some(Holder::Process(std::process::id())), "{address}");
            let uid = end(&world, from, to).unwrap().unwrap().uid;
            assert_eq!(uid, rustix::process::geteuid().as_raw());
            drop(ours);
            assert_eq!(holder(from, to), Some(Holder::Nobody), "{address}");
            assert_eq!(holder("127.0.0.9:1".parse().unwrap(), to), None, "it is of another machine");
        }
    }

    #[test]
    fn a_line_is_read_by_its_columns() {
        if cfg!(target_endian = "big") {
            return;
        }
        let line =
            "   1: 0100007F:B5D2 0100007F:1BA7 01 00000000:00000000 00:00000000 00000000  1000        0 12345 1 x";
        let ends = |from: &str, to: &str| (from.parse().unwrap(), to.parse().unwrap());
        assert_eq!(row(line, ends("127.0.0.1:46546", "127.0.0.1:7079")), Some((1000, 12345)));
        assert_eq!(row(line, ends("127.0.0.1:7079", "127.0.0.1:46546")), None, "that is the daemon's own end");
    }
}

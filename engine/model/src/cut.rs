//! The kernel's cut as a verb knows it: cgroups whose packets go nowhere but where an order lets them.
//!
//! Owns the trait and what travels through it. Keeps true: an order is its id's alone, so that several stand on one cgroup
//! and each is taken back for itself; it ends by the kernel's own clock, whether anybody lives who entered it.

mod net;

pub use net::{Net, NetError};

use serde::{Deserialize, Serialize};
use std::net::IpAddr;
use std::path::Path;

/// What an order drops.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(tag = "rule", rename_all = "snake_case")]
pub enum CutRule {
    /// All but what goes to these peers and comes from them.
    Isolate {
        /// The peers.
        allow: Vec<Net>,
        /// Also what stays on the loopback device of its network namespace.
        loopback: bool,
    },
    /// What goes to these peers or comes from them.
    Block {
        /// The peers.
        peers: Vec<Net>,
        /// The destination ports of TCP, UDP, SCTP and DCCP, the first and the last of each range; none: all that is sent,
        /// with ports or without. At most [`CutRule::PORTS`].
        ports: Vec<(u16, u16)>,
        /// What is sent to them.
        outward: bool,
        /// What comes from them.
        inward: bool,
    },
}

impl CutRule {
    /// Ranges of ports that an order has room for.
    pub const PORTS: usize = 8;

    /// Whether a connection between the peer's port and this host's can carry nothing any more, one way or the other. (What
    /// is sent to a peer has its port for its destination, what comes from it this host's.)
    #[must_use]
    pub fn ends(&self, peer: IpAddr, peer_port: u16, own_port: u16) -> bool {
        let named = |nets: &[Net]| nets.iter().any(|net| net.contains(peer));
        match self {
            Self::Isolate { allow, loopback } => !(named(allow) || *loopback && is_loopback(peer)),
            Self::Block { peers, ports, outward, inward } => {
                let is_port =
                    |port: u16| ports.is_empty() || ports.iter().any(|(first, last)| (*first..=*last).contains(&port));
                named(peers) && ((*outward && is_port(peer_port)) || (*inward && is_port(own_port)))
            }
        }
    }
}

/// Of this host alone, also where IPv6 writes it as one of IPv4.
fn is_loopback(address: IpAddr) -> bool {
    address.to_canonical().is_loopback()
}

/// One order.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct CutTerms {
    /// Whose it is: derived from the run and step that entered it; never 0.
    pub id: u64,
    /// What is cut off, for people.
    pub label: String,
    /// The run whose step entered it; empty when none did.
    #[serde(default)]
    pub owner: String,
    /// Its end, in nanoseconds on the boot clock.
    pub until_ns: u64,
    /// What is dropped.
    pub rule: CutRule,
}

/// What an order has dropped since it was entered.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct CutDropped {
    /// Packets that were not sent.
    pub packets_out: u64,
    /// Packets that did not arrive.
    pub packets_in: u64,
    /// Their bytes, from the network header on.
    pub bytes_out: u64,
    /// Likewise.
    pub bytes_in: u64,
    /// Calls of connect and sendmsg that were refused.
    pub calls: u64,
    /// When the first was, in nanoseconds on the boot clock; 0: nothing was dropped.
    pub first_ns: u64,
    /// And the last.
    pub last_ns: u64,
}

impl CutDropped {
    /// Everything that was held back, packets and calls.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.packets_out + self.packets_in + self.calls
    }
}

/// An order as it stands in the kernel.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct CutStanding {
    /// The inode of the cgroup's directory (v2).
    pub group: u64,
    /// What holds for it.
    pub terms: CutTerms,
    /// What it dropped.
    pub dropped: CutDropped,
    /// Devices that are hooked too: whatever passes them, whoever's packet it is, is dropped or not by the same orders.
    #[serde(default)]
    pub devices: Vec<String>,
    /// Hooks of the cgroup, or devices, that are missing: while one is, the order is not whole.
    #[serde(default)]
    pub unhooked: Vec<String>,
}

/// The devices that lead into a cgroup's network.
#[derive(Clone, Default, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct CutDevices {
    /// Their names.
    pub hooked: Vec<String>,
    /// Those that cannot be hooked, each with why.
    pub left: Vec<String>,
}

/// The sockets that an order is to end, one line each.
#[derive(Clone, Default, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct CutOpen {
    /// Those that can be ended: `tcp 10.0.0.1:40000 → 203.0.113.5:443`.
    pub ends: Vec<String>,
    /// Those that go on whatever is done, each with why.
    pub stays: Vec<String>,
}

/// What became of the sockets that an order ends.
#[derive(Clone, Default, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct CutSockets {
    /// `tcp 10.0.0.1:40000 → 203.0.113.5:443`, one line each.
    pub destroyed: Vec<String>,
    /// Those that still stand, each with why.
    pub left: Vec<String>,
}

/// Orders in the kernel: what the sockets of a cgroup and of those below it send and receive is dropped. A socket is of
/// the cgroup in which it was born.
pub trait Cut: Send + Sync {
    /// Enters it for the v2 cgroup whose directory this is, or renews what stands under its id, whose counts go on.
    ///
    /// # Errors
    /// A sentence, when there is no room or the kernel refuses; nothing of it stands then.
    fn enter(&self, group: &Path, terms: &CutTerms) -> Result<(), String>;

    /// Hooks the host's ends of the veths that lead into the network of a cgroup on which an order stands, where that network is its processes'
    /// alone: the orders hold there for every packet, also where no socket of the cgroup sends it.
    ///
    /// # Errors
    /// A sentence, when they cannot be told.
    fn hook_devices(&self, group: &Path) -> Result<CutDevices, String>;

    /// Whether nothing leads out of the networks that the cgroup's processes are in but devices that are hooked: then the orders hold for whatever
    /// they send, by any socket.
    ///
    /// # Errors
    /// A sentence, when it cannot be told.
    fn is_closed(&self, group: &Path) -> Result<bool, String>;

    /// The order with this id.
    ///
    /// # Errors
    /// A sentence, when it cannot be asked.
    fn standing(&self, id: u64) -> Result<Option<CutStanding>, String>;

    /// Every order.
    ///
    /// # Errors
    /// A sentence, when it cannot be asked.
    fn all(&self) -> Result<Vec<CutStanding>, String>;

    /// Takes it out; false when nothing stood there.
    ///
    /// # Errors
    /// A sentence, when the kernel refuses.
    fn remove(&self, id: u64) -> Result<bool, String>;

    /// Whether an order stands on this very cgroup, whoever entered it: also another quell.
    ///
    /// # Errors
    /// A sentence, when it cannot be asked.
    fn holds(&self, group: &Path) -> Result<bool, String>;

    /// The sockets that the rule would end, none touched: those of TCP and UDP that were born in the cgroup or below and are connected to
    /// a peer it refuses, and, where it isolates, all that its processes brought along from elsewhere, listening ones too, unless
    /// somebody else has those open.
    ///
    /// # Errors
    /// A sentence, when they cannot be told.
    fn sockets(&self, group: &Path, rule: &CutRule) -> Result<CutOpen, String>;

    /// Destroys them, in the network namespaces of the cgroup's processes. Theirs is an error at the next call; the peer is
    /// told nothing where the order stands already, until it sends something: then this host answers with a reset.
    ///
    /// # Errors
    /// A sentence, when they cannot be told.
    fn destroy(&self, group: &Path, rule: &CutRule) -> Result<CutSockets, String>;

    /// Tries an order where it stands: a child of its own joins the cgroup and must not reach a listener of this process, nor
    /// this process the child. `None`: it can be tried in no way that proves anything, and why.
    ///
    /// # Errors
    /// A sentence that says what got through.
    fn probe(&self, group: &Path, id: u64) -> Result<Option<String>, String>;

    /// The whole in a cgroup of its own, made and removed for it.
    ///
    /// # Errors
    /// A sentence that says what did not happen.
    fn attempt(&self) -> Result<(), String>;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nets(texts: &[&str]) -> Vec<Net> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn a_rule_ends_what_it_would_drop() {
        let rule = |loopback| CutRule::Isolate { allow: nets(&["10.0.0.0/8", "fd00::/8"]), loopback };
        for (peer, with, without) in [
            ("10.1.2.3", false, false),
            ("::ffff:10.1.2.3", false, false),
            ("fd00::1", false, false),
            ("203.0.113.5", true, true),
            ("127.0.0.1", false, true),
            ("::1", false, true),
            ("::ffff:127.0.0.1", false, true),
        ] {
            let peer = peer.parse().unwrap();
            assert_eq!((rule(true).ends(peer, 1, 2), rule(false).ends(peer, 1, 2)), (with, without), "{peer}");
        }
        let peers = || nets(&["203.0.113.0/24"]);
        let block = |ports: &[(u16, u16)], outward, inward| CutRule::Block {
            peers: peers(),
            ports: ports.to_vec(),
            outward,
            inward,
        };
        let peer: IpAddr = "203.0.113.5".parse().unwrap();
        for (rule, ends) in [
            (block(&[], true, false), true),
            (block(&[(443, 443)], true, false), true),
            (block(&[(443, 443)], false, true), false),
            (block(&[(40, 50)], false, true), true),
            (block(&[(1, 2), (444, 500)], true, true), false),
        ] {
            assert_eq!(rule.ends(peer, 443, 44), ends, "{rule:?}");
            assert!(!rule.ends("203.0.114.5".parse().unwrap(), 443, 44));
        }
    }
}

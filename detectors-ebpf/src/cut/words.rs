//! The layouts of bpf/cut/cut.bpf.c, as words: orders, their peers and their counts.

use crate::letters::{text, write};
use quell_model::{CutDropped, CutRule, CutTerms, Net};
use std::net::Ipv4Addr;

/// `struct orders`.
pub(super) type Orders = [u64; ORDERS];
/// `struct order`.
pub(super) type Order = [u64; ORDER];
/// `struct peer` behind its `bits`.
pub(super) type Peer = [u8; 24];
/// `struct count`.
pub(super) type Count = [u64; 7];

/// Orders that one cgroup has room for.
pub(super) const ORDERS: usize = 8;
/// `LABEL`.
const LABEL: usize = 128;
/// `OWNER`.
const OWNER: usize = 64;
/// Where its words are: `group`, `until`, `flags`, two ports a word, then the two texts.
const UNTIL: usize = 1;
const FLAGS: usize = 2;
const PORTS: usize = 3;
const TEXTS: usize = PORTS + CutRule::PORTS / 2;
const ORDER: usize = TEXTS + (LABEL + OWNER) / 8;

const BLOCKS: u64 = 1;
const OUTWARD: u64 = 2;
const INWARD: u64 = 4;
const LOOPBACK: u64 = 8;
const ALLOWS: u64 = 16;
const HAS_PORTS: u64 = 32;

/// An order for the cgroup with this number.
pub(super) fn order(group: u64, terms: &CutTerms) -> Order {
    let mut words = [0; ORDER];
    words[0] = group;
    words[UNTIL] = terms.until_ns;
    let flag = |is_set: bool, flag: u64| if is_set { flag } else { 0 };
    words[FLAGS] = match &terms.rule {
        CutRule::Isolate { allow, loopback } => flag(*loopback, LOOPBACK) | flag(!allow.is_empty(), ALLOWS),
        CutRule::Block { ports, outward, inward, .. } => {
            for (at, (first, last)) in ports.iter().take(CutRule::PORTS).enumerate() {
                let range = u64::from(*first) | u64::from(*last) << 16;
                words[PORTS + at / 2] |= range << (at % 2 * 32);
            }
            BLOCKS | flag(*outward, OUTWARD) | flag(*inward, INWARD) | flag(!ports.is_empty(), HAS_PORTS)
        }
    };
    let (label, owner) = words[TEXTS..].split_at_mut(LABEL / 8);
    write(label, &terms.label);
    // Half a name would be another's.
    if terms.owner.len() < OWNER {
        write(owner, &terms.owner);
    }
    words
}

/// The number of its cgroup.
pub(super) fn group(words: &Order) -> u64 {
    words[0]
}

/// Its end on the boot clock.
pub(super) fn until(words: &Order) -> u64 {
    words[UNTIL]
}

/// What holds for it; `nets` are the peers that it names.
pub(super) fn terms(id: u64, words: &Order, nets: Vec<Net>) -> CutTerms {
    let has = |flag: u64| words[FLAGS] & flag != 0;
    let rule = if has(BLOCKS) {
        let ranges = words[PORTS..TEXTS].iter().flat_map(|word| [word & 0xffff_ffff, word >> 32]);
        #[allow(clippy::cast_possible_truncation, reason = "the halves of a range")]
        let ports = ranges.filter(|range| *range != 0).map(|range| (range as u16, (range >> 16) as u16));
        CutRule::Block { peers: nets, ports: ports.collect(), outward: has(OUTWARD), inward: has(INWARD) }
    } else {
        CutRule::Isolate { allow: nets, loopback: has(LOOPBACK) }
    };
    CutTerms {
        id,
        label: text(&words[TEXTS..TEXTS + LABEL / 8]),
        owner: text(&words[TEXTS + LABEL / 8..]),
        until_ns: until(words),
        rule,
    }
}

/// The peers that a rule names.
pub(super) fn nets(rule: &CutRule) -> &[Net] {
    match rule {
        CutRule::Isolate { allow: nets, .. } | CutRule::Block { peers: nets, .. } => nets,
    }
}

/// A peer's key: its bits, the order's among them, and what they are bits of.
fn peer(id: u64, octets: [u8; 16], bits: u8) -> (u32, Peer) {
    let mut key = [0; 24];
    key[..8].copy_from_slice(&id.to_le_bytes());
    key[8..].copy_from_slice(&octets);
    (64 + u32::from(bits), key)
}

/// What a key says of the peers below it: the longest one counts.
pub(super) const NAMED: u32 = 1;
const NOT: u32 = 0;

/// The keys of an order's peers, and what each says. IPv4 lies in its mapped place, within networks of IPv6 that do not mean it.
pub(super) fn peers(id: u64, nets: &[Net]) -> Vec<((u32, Peer), u32)> {
    let named = nets.iter().map(|net| {
        let (octets, bits) = net.mapped();
        (peer(id, octets, bits), NAMED)
    });
    let mut all: Vec<_> = named.collect();
    if nets.iter().any(Net::spans_mapped) {
        let mapped = peer(id, Ipv4Addr::UNSPECIFIED.to_ipv6_mapped().octets(), 96);
        // `0.0.0.0/0` has that very key.
        if all.iter().all(|(key, _)| *key != mapped) {
            all.push((mapped, NOT));
        }
    }
    all
}

/// Whose peer it is, and which.
pub(super) fn peer_of(bits: u32, key: &Peer) -> (u64, Net) {
    let (mut id, mut octets) = ([0; 8], [0; 16]);
    id.copy_from_slice(&key[..8]);
    octets.copy_from_slice(&key[8..]);
    let bits = u8::try_from(bits.saturating_sub(64)).unwrap_or(128);
    (u64::from_le_bytes(id), Net::of_mapped(octets, bits))
}

/// What an order dropped.
pub(super) fn dropped(words: &Count) -> CutDropped {
    let [packets_out, packets_in, bytes_out, bytes_in, calls, first_ns, last_ns] = *words;
    CutDropped { packets_out, packets_in, bytes_out, bytes_in, calls, first_ns, last_ns }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_go_there_and_back() {
        let nets: Vec<Net> = ["10.0.0.0/8", "2001:db8::/32", "::/0"].iter().map(|text| text.parse().unwrap()).collect();
        let rules = [
            CutRule::Isolate { allow: nets.clone(), loopback: true },
            CutRule::Isolate { allow: Vec::new(), loopback: false },
            CutRule::Block {
                peers: nets,
                ports: vec![(22, 22), (80, 90), (65535, 65535), (0, 1)],
                outward: true,
                inward: false,
            },
        ];
        for rule in rules {
            let told = CutTerms { id: 7, label: "ä".repeat(9), owner: "r-1".into(), until_ns: 5, rule };
            let words = order(3, &told);
            assert_eq!((group(&words), until(&words)), (3, 5));
            let keys = peers(7, super::nets(&told.rule)).into_iter().filter(|(_, says)| *says == NAMED);
            let back: Vec<(u64, Net)> = keys.map(|((bits, key), _)| peer_of(bits, &key)).collect();
            assert!(back.iter().all(|(id, _)| *id == 7));
            assert_eq!(terms(7, &words, back.into_iter().map(|(_, net)| net).collect()), told);
        }
    }

    #[test]
    fn a_network_of_ipv6_means_none_of_ipv4() {
        let nets = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect::<Vec<Net>>();
        let says = |texts: &[&str]| {
            peers(7, &nets(texts)).into_iter().map(|((bits, _), says)| (bits, says)).collect::<Vec<_>>()
        };
        assert_eq!(says(&["::/0"]), [(64, NAMED), (160, NOT)]);
        assert_eq!(says(&["::/0", "0.0.0.0/0"]), [(64, NAMED), (160, NAMED)], "both are named");
        assert_eq!(says(&["::/0", "10.0.0.0/8"]), [(64, NAMED), (168, NAMED), (160, NOT)]);
        assert_eq!(says(&["2001:db8::/32"]), [(96, NAMED)]);
    }
}

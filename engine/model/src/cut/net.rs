//! A network as people write it (CIDR, RFC 4632 and 4291), or one address.
//!
//! Keeps true: what is behind its prefix is zero; an IPv4 network that is written as one of IPv6 is the IPv4 one.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::str::FromStr;

/// One network.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Net {
    address: IpAddr,
    bits: u8,
}

/// It is no network.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum NetError {
    /// Not written as one.
    #[error("`{0}` is no network; hint: write `10.0.0.0/8`, `2001:db8::/32`, or one address")]
    Unread(String),
    /// Its prefix is longer than its address.
    #[error("`{text}` has a prefix of {bits} bits; an address of its kind has {most}")]
    Long {
        /// As it was written.
        text: String,
        /// The prefix.
        bits: u8,
        /// What there may be.
        most: u8,
    },
    /// It names one of its addresses.
    #[error("`{text}` has bits behind its prefix; hint: the network is `{network}`, the address alone `{address}`")]
    Loose {
        /// As it was written.
        text: String,
        /// What the prefix leaves.
        network: Net,
        /// What stands before it.
        address: IpAddr,
    },
}

impl Net {
    /// From 128 bits, as [`Net::mapped`] gives them.
    #[must_use]
    pub fn of_mapped(octets: [u8; 16], bits: u8) -> Self {
        let address = Ipv6Addr::from(octets);
        match address.to_ipv4_mapped() {
            Some(four) if bits >= 96 => Self { address: IpAddr::V4(four), bits: bits - 96 },
            _ => Self { address: IpAddr::V6(address), bits },
        }
    }

    /// In 128 bits, IPv4 in its mapped place.
    #[must_use]
    pub fn mapped(&self) -> ([u8; 16], u8) {
        match self.address {
            IpAddr::V4(four) => (four.to_ipv6_mapped().octets(), self.bits + 96),
            IpAddr::V6(six) => (six.octets(), self.bits),
        }
    }

    /// Whether the address lies in it. An address of IPv4, however it is written, lies in no network of IPv6, not even in `::/0`.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        let (own, bits) = self.mapped();
        let address = address.to_canonical();
        if address.is_ipv4() != self.address.is_ipv4() {
            return false;
        }
        let other = match address {
            IpAddr::V4(four) => four.to_ipv6_mapped(),
            IpAddr::V6(six) => six,
        };
        let mask = mask(bits, 128);
        u128::from_be_bytes(own) & mask == u128::from(other) & mask
    }

    /// Whether it is one of IPv6 in whose range of 128 bits the mapped addresses of IPv4 lie, which it does not hold.
    #[must_use]
    pub fn spans_mapped(&self) -> bool {
        let (own, bits) = self.mapped();
        let mapped = u128::from(Ipv6Addr::new(0, 0, 0, 0, 0, 0xffff, 0, 0));
        let mask = mask(bits, 128);
        self.address.is_ipv6() && u128::from_be_bytes(own) & mask == mapped & mask
    }

    /// Its first address.
    #[must_use]
    pub fn address(&self) -> IpAddr {
        self.address
    }

    /// The bits of its prefix.
    #[must_use]
    pub fn bits(&self) -> u8 {
        self.bits
    }

    /// Whether it is one of IPv4.
    #[must_use]
    pub fn is_ipv4(&self) -> bool {
        self.address.is_ipv4()
    }

    /// Every address of its kind.
    #[must_use]
    pub fn is_all(&self) -> bool {
        self.bits == 0
    }
}

fn mask(bits: u8, of: u8) -> u128 {
    let all = u128::MAX >> (128 - u32::from(of));
    if bits == 0 { 0 } else { all << (of - bits) & all }
}

impl FromStr for Net {
    type Err = NetError;

    fn from_str(text: &str) -> Result<Self, NetError> {
        let unread = || NetError::Unread(text.to_owned());
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => {
                let is_number = !bits.is_empty() && bits.bytes().all(|byte| byte.is_ascii_digit());
                (address, Some(bits.parse::<u8>().ok().filter(|_| is_number).ok_or_else(unread)?))
            }
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| unread())?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        let bits = bits.unwrap_or(most);
        if bits > most {
            return Err(NetError::Long { text: text.to_owned(), bits, most });
        }
        let (number, of) = match address {
            IpAddr::V4(four) => (u128::from(u32::from(four)), 32),
            IpAddr::V6(six) => (u128::from(six), 128),
        };
        let kept = number & mask(bits, of);
        if kept != number {
            let network = match address {
                // A masked 32-bit number has 32 bits.
                IpAddr::V4(_) => IpAddr::V4(u32::try_from(kept).unwrap_or(0).into()),
                IpAddr::V6(_) => IpAddr::V6(kept.into()),
            };
            return Err(NetError::Loose { text: text.to_owned(), network: Self { address: network, bits }, address });
        }
        let net = Self { address, bits };
        let (octets, bits) = net.mapped();
        Ok(Self::of_mapped(octets, bits))
    }
}

impl TryFrom<String> for Net {
    type Error = NetError;

    fn try_from(text: String) -> Result<Self, NetError> {
        text.parse()
    }
}

impl From<Net> for String {
    fn from(net: Net) -> Self {
        net.to_string()
    }
}

impl fmt::Display for Net {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.bits)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_are_read_and_hold_what_lies_in_them() {
        for (text, told, inside, outside) in [
            ("10.0.0.0/8", "10.0.0.0/8", "10.9.8.7", "11.0.0.0"),
            ("203.0.113.5", "203.0.113.5/32", "::ffff:203.0.113.5", "203.0.113.4"),
            ("0.0.0.0/0", "0.0.0.0/0", "1.2.3.4", "2001:db8::1"),
            ("2001:db8::/32", "2001:db8::/32", "2001:db8:1::1", "2001:db9::"),
            ("::ffff:10.0.0.0/104", "10.0.0.0/8", "10.1.1.1", "::1"),
            ("::1", "::1/128", "::1", "::2"),
        ] {
            let net: Net = text.parse().unwrap();
            assert_eq!(net.to_string(), told);
            assert!(net.contains(inside.parse().unwrap()) && !net.contains(outside.parse().unwrap()), "{text}");
            let (octets, bits) = net.mapped();
            assert_eq!(Net::of_mapped(octets, bits), net);
            let json = serde_json::to_value(net).unwrap();
            assert_eq!(serde_json::from_value::<Net>(json).unwrap(), net);
        }
        let net = |text: &str| text.parse::<Net>().unwrap();
        for (text, spans) in
            [("::/0", true), ("::/64", true), ("::/96", false), ("2000::/3", false), ("0.0.0.0/0", false)]
        {
            assert_eq!(net(text).spans_mapped(), spans, "{text}");
            assert_eq!(net(text).contains("10.0.0.1".parse().unwrap()), text.contains('.'), "{text}");
        }
        assert!(
            !net("::/0").contains("::ffff:10.0.0.1".parse().unwrap()) && net("::/0").contains("::1".parse().unwrap())
        );
    }

    #[test]
    fn what_is_no_network_is_told_with_a_hint() {
        let told = |text: &str| text.parse::<Net>().unwrap_err().to_string();
        for text in
            ["", "10.0.0/8", "10.0.0.0/", "10.0.0.0/x", "10.0.0.0/+8", "10.0.0.0/300", "example.org", "1.2.3.4:80"]
        {
            assert!(told(text).contains("is no network; hint: "), "{text}");
        }
        assert_eq!(told("10.0.0.0/33"), "`10.0.0.0/33` has a prefix of 33 bits; an address of its kind has 32");
        let loose = told("10.1.2.3/8");
        assert!(loose.ends_with("hint: the network is `10.0.0.0/8`, the address alone `10.1.2.3`"), "{loose}");
    }
}

//! The functions that expressions may call: pure, bounded, and kind to `()`.

use super::sandbox::in_time;
use super::values::{to_dynamic, to_json};
use quell_model::{Hash, Json};
use rhai::{Array, Dynamic, Engine, EvalAltResult, Map};
use std::net::IpAddr;

/// Their names, for the check. `now` and `person_of` are bound at each evaluation.
pub(crate) const NAMES: &[&str] =
    &["now", "time", "duration", "cidr_contains", "glob", "sha256", "base64_decode", "json", "field", "person_of"];

type Fallible<T> = Result<T, Box<EvalAltResult>>;

/// The longest pattern that `glob` takes: its time is pattern × text.
const LONGEST_PATTERN: usize = 1024;
/// After so many places of a pattern that were held against a character the time is asked.
const ASKED_EVERY: usize = 8192;

/// Teaches an engine these functions.
pub(crate) fn register(engine: &mut Engine) {
    engine
        .register_fn("cidr_contains", |cidr: &str, address: &str| in_network(cidr, address))
        .register_fn("cidr_contains", |list: Array, address: &str| -> Fallible<bool> {
            for (at, cidr) in list.into_iter().enumerate() {
                if at.is_multiple_of(256) {
                    in_time()?;
                }
                let cidr = cidr.into_immutable_string().map_err(|kind| format!("a network is text, not {kind}"))?;
                if in_network(&cidr, address)? {
                    return Ok(true);
                }
            }
            Ok(false)
        })
        .register_fn("cidr_contains", |_: Dynamic, _: ()| false)
        .register_fn("glob", |pattern: &str, text: &str| glob(pattern, text))
        .register_fn("glob", |_: &str, _: ()| false)
        .register_fn("sha256", |text: &str| in_time().map(|()| Hash::of(text.as_bytes()).to_string()))
        .register_fn("base64_decode", |text: &str| -> Fallible<String> {
            in_time()?;
            let bytes = base64(text).ok_or("the text is no base64")?;
            Ok(String::from_utf8_lossy(&bytes).into_owned())
        })
        .register_fn("json", |text: &str| -> Fallible<Dynamic> {
            in_time()?;
            let value: Json = serde_json::from_str(text).map_err(|error| format!("the text is no JSON: {error}"))?;
            Ok(to_dynamic(&value))
        })
        .register_fn("to_json", |value: Dynamic| -> Fallible<String> {
            to_json(value).map(|json| json.to_string()).map_err(|error| error.to_string().into())
        })
        .register_fn("field", |map: &mut Map, path: &str| field(map, path))
        .register_fn("field", |_: (), _: &str| ());
}

/// What stands at `a.b.c`, or `()`.
fn field(map: &mut Map, path: &str) -> Dynamic {
    if let Some(found) = map.get(path) {
        return found.clone();
    }
    let Some((first, rest)) = path.split_once('.') else { return Dynamic::UNIT };
    match map.get_mut(first).and_then(|inner| inner.write_lock::<Map>()) {
        Some(mut inner) => field(&mut inner, rest),
        None => Dynamic::UNIT,
    }
}

/// Whether a network like `10.0.0.0/8` or `fd00::/8`, or a single address, contains an address.
fn in_network(cidr: &str, address: &str) -> Fallible<bool> {
    let (base, length) = cidr.split_once('/').map_or((cidr, None), |(base, length)| (base, Some(length)));
    let wrong = || format!("`{cidr}` is no network like 10.0.0.0/8");
    let base = plain(base.parse().map_err(|_| wrong())?);
    let Ok(address) = address.parse().map(plain) else {
        return Err(format!("`{address}` is no IP address").into());
    };
    let (base, address, width) = match (base, address) {
        (IpAddr::V4(base), IpAddr::V4(address)) => (u128::from(base.to_bits()), u128::from(address.to_bits()), 32),
        (IpAddr::V6(base), IpAddr::V6(address)) => (base.to_bits(), address.to_bits(), 128),
        _ => return Ok(false),
    };
    let length = length.map_or(Ok(width), str::parse::<u32>).map_err(|_| wrong())?;
    if length > width {
        return Err(wrong().into());
    }
    let away = width - length;
    Ok(base.checked_shr(away).unwrap_or(0) == address.checked_shr(away).unwrap_or(0))
}

/// An IPv4 address in IPv6 clothes without them.
fn plain(address: IpAddr) -> IpAddr {
    address.to_canonical()
}

/// `*` stands for anything but `/`, `**` for anything, `?` for one character but `/`.
///
/// All places in the pattern are followed at once, so the time is bounded by pattern × text.
fn glob(pattern: &str, text: &str) -> Fallible<bool> {
    if pattern.len() > LONGEST_PATTERN {
        return Err(format!("a pattern is at most {LONGEST_PATTERN} bytes long").into());
    }
    #[derive(Clone, Copy, PartialEq)]
    enum Sign {
        One(char),
        AnyOne,
        Few,
        All,
    }
    let mut signs = Vec::new();
    for c in pattern.chars() {
        match (c, signs.last()) {
            ('*', Some(Sign::Few)) => {
                signs.pop();
                signs.push(Sign::All);
            }
            ('*', Some(Sign::All)) => {}
            ('*', _) => signs.push(Sign::Few),
            ('?', _) => signs.push(Sign::AnyOne),
            (c, _) => signs.push(Sign::One(c)),
        }
    }
    let spread = |places: &mut [bool]| {
        for at in 0..signs.len() {
            if places[at] && matches!(signs[at], Sign::Few | Sign::All) {
                places[at + 1] = true;
            }
        }
    };
    let mut places = vec![false; signs.len() + 1];
    places[0] = true;
    spread(&mut places);
    let mut next = vec![false; signs.len() + 1];
    let mut looked_at = 0;
    for c in text.chars() {
        looked_at += next.len();
        if looked_at >= ASKED_EVERY {
            looked_at = 0;
            in_time()?;
        }
        next.fill(false);
        for (at, sign) in signs.iter().enumerate().filter(|(at, _)| places[*at]) {
            match sign {
                Sign::One(one) if *one == c => next[at + 1] = true,
                Sign::AnyOne if c != '/' => next[at + 1] = true,
                Sign::Few if c != '/' => next[at] = true,
                Sign::All => next[at] = true,
                _ => {}
            }
        }
        spread(&mut next);
        std::mem::swap(&mut places, &mut next);
    }
    Ok(places[signs.len()])
}

/// Base64 of either alphabet, padded or not; blanks between are passed over.
fn base64(text: &str) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(text.len() / 4 * 3);
    let (mut bits, mut held) = (0u32, 0u32);
    let body = text.trim_end().trim_end_matches('=');
    for c in body.bytes().filter(|c| !c.is_ascii_whitespace()) {
        let six = match c {
            b'A'..=b'Z' => c - b'A',
            b'a'..=b'z' => c - b'a' + 26,
            b'0'..=b'9' => c - b'0' + 52,
            b'+' | b'-' => 62,
            b'/' | b'_' => 63,
            _ => return None,
        };
        bits = bits << 6 | u32::from(six);
        held += 6;
        if held >= 8 {
            held -= 8;
            out.push((bits >> held) as u8);
            bits &= (1 << held) - 1;
        }
    }
    (held < 6).then_some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_contain_what_they_should() {
        for (cidr, address, want) in [
            ("10.0.0.0/8", "10.1.2.3", true),
            ("10.0.0.0/8", "11.1.2.3", false),
            ("0.0.0.0/0", "8.8.8.8", true),
            ("192.0.2.7", "192.0.2.7", true),
            ("10.0.0.0/8", "::ffff:10.1.2.3", true),
            ("fd00::/8", "fd12::1", true),
            ("fd00::/8", "10.0.0.1", false),
            ("::/0", "fe80::1", true),
        ] {
            assert_eq!(in_network(cidr, address).unwrap(), want, "{cidr} {address}");
        }
        assert!(in_network("10.0.0.0/33", "10.0.0.1").is_err());
        assert!(in_network("ten", "10.0.0.1").is_err());
    }

    #[test]
    fn globs_match_what_they_should() {
        for (pattern, text, want) in [
            ("/tmp/*", "/tmp/x", true),
            ("/tmp/*", "/tmp/a/x", false),
            ("/tmp/**", "/tmp/a/x", true),
            ("**/*.sh", "/a/b/c.sh", true),
            ("?at", "cat", true),
            ("?at", "at", false),
            ("", "", true),
            ("*", "", true),
            ("a*b*c", "aXbYc", true),
            ("a*b*c", "aXbY", false),
        ] {
            assert_eq!(glob(pattern, text).unwrap(), want, "{pattern} {text}");
        }
    }

    #[test]
    fn base64_of_both_alphabets_is_read() {
        assert_eq!(base64("aGVsbG8=").as_deref(), Some(&b"hello"[..]));
        assert_eq!(base64("aGVsbG8").as_deref(), Some(&b"hello"[..]));
        assert_eq!(base64("_-8").as_deref(), Some(&[0xff, 0xef][..]));
        assert_eq!(base64("a"), None);
        assert_eq!(base64("a*=="), None);
    }
}

//! Whether a request over HTTP is Slack's: signed with a secret of the app, fresh, and not seen before.
//!
//! Owns the check (HMAC-SHA256 over `v0:TIMESTAMP:BODY`, docs.slack.dev/authentication/verifying-requests-from-slack) and the memory
//! of what was seen. Keeps true: every secret is tried, each compared in constant time; what was seen is bounded, and only what was
//! signed gets into it; whatever is fresh and was seen is known again: what cannot be remembered is not taken, and neither is what was
//! signed before this process could remember anything.

use hmac::{Hmac, Mac};
use quell_model::{Hash, Secret};
use sha2::Sha256;
use std::collections::{HashSet, VecDeque};
use subtle::ConstantTimeEq;

/// A request that is older, or from further ahead, is refused, in seconds.
const SKEW: u64 = 300;
/// So long what was seen is known again, in seconds: whatever is fresh by [`SKEW`] on either side.
const SEEN: u64 = 2 * SKEW;
/// So many are known again: a hundred a second, for ten minutes. Some 6 MB.
const MOST_SEEN: usize = 65_536;
/// Slack's clock may be so far behind this machine's, in seconds, that what is sent now looks as if it were from before the start.
const APART: u64 = 2;

/// Why a request is not taken for Slack's.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub(super) enum NotSlacks {
    #[error("the request is not signed as Slack signs")]
    Unsigned,
    #[error("the request is older than 5 minutes, or the clocks differ by more")]
    Stale,
    #[error("the signature is not by the app's signing secret")]
    Forged,
    #[error(
        "the request is from before this quell began, and nobody knows whether it was answered then: send it again"
    )]
    Before,
}

/// Whether it was signed, at `timestamp`, with one of these; `now` in seconds of the wall clock, and `since` when it was first
/// remembered what was seen.
pub(super) fn verify(
    secrets: &[Secret],
    (timestamp, signature): (&str, &str),
    body: &[u8],
    (now, since): (u64, u64),
) -> Result<(), NotSlacks> {
    let digits = !timestamp.is_empty() && timestamp.bytes().all(|byte| byte.is_ascii_digit());
    let at: u64 = timestamp.parse().ok().filter(|_| digits).ok_or(NotSlacks::Unsigned)?;
    if at.abs_diff(now) > SKEW {
        return Err(NotSlacks::Stale);
    }
    let is_by = |secret: &Secret| {
        let expected = signed(secret, timestamp, body);
        bool::from(expected.as_bytes().ct_eq(signature.as_bytes()))
    };
    // All of them are tried, whichever it is.
    let is_signed = secrets.iter().fold(false, |found, secret| is_by(secret) | found);
    is_signed.then_some(()).ok_or(NotSlacks::Forged)?;
    if at + APART < since { Err(NotSlacks::Before) } else { Ok(()) }
}

/// What Slack's header says of a body signed with this secret.
pub(super) fn signed(secret: &Secret, timestamp: &str, body: &[u8]) -> String {
    let key = secret.expose().as_bytes();
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("an HMAC takes a key of any length");
    mac.update(b"v0:");
    mac.update(timestamp.as_bytes());
    mac.update(b":");
    mac.update(body);
    let digits: String = mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
    format!("v0={digits}")
}

/// What was seen of late.
#[derive(Debug)]
pub(super) struct Seen {
    all: HashSet<Hash>,
    in_order: VecDeque<(u64, Hash)>,
    most: usize,
}

impl Default for Seen {
    fn default() -> Self {
        Self::of_at_most(MOST_SEEN)
    }
}

impl Seen {
    fn of_at_most(most: usize) -> Self {
        Self { all: HashSet::new(), in_order: VecDeque::new(), most }
    }

    /// Notes it; false: it was seen already, within [`SEEN`]; none: there is no room to remember it, and it is not to be taken.
    pub(super) fn is_new(&mut self, what: &str, now: u64) -> Option<bool> {
        let is_old = |at: u64| now.saturating_sub(at) > SEEN;
        while let Some((_, sum)) = self.in_order.pop_front_if(|(at, _)| is_old(*at)) {
            self.all.remove(&sum);
        }
        let sum = Hash::of(what.as_bytes());
        if self.all.contains(&sum) {
            return Some(false);
        }
        if self.in_order.len() >= self.most {
            return None;
        }
        self.all.insert(sum);
        self.in_order.push_back((now, sum));
        Some(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Slack's own example, as its documentation has it.
    const SECRET: &str = "8f742231b10e8888abcd99yyyzzz85a5";
    const AT: &str = "1531420618";
    const BODY: &str = "token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow&channel_id=G8PSS9T3V\
        &channel_name=foobar&user_id=U2CERLKJA&user_name=roadrunner&command=%2Fwebhook-collect&text=\
        &response_url=https%3A%2F%2Fhooks.slack.com%2Fcommands%2FT1DC2JH3J%2F397700885554%2F96rGlfmibIGlgcZRskXaIFfN\
        &trigger_id=398738663015.47445629121.803a0bc887a14d10d2c447fce8b6703c";
    const SIGNATURE: &str = "v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503";
    const NOW: u64 = 1_531_420_618;

    fn said(secrets: &[&str], signature: &str, body: &str, now: u64) -> Result<(), NotSlacks> {
        let secrets: Vec<Secret> = secrets.iter().map(|secret| Secret::new(*secret)).collect();
        verify(&secrets, (AT, signature), body.as_bytes(), (now, 0))
    }

    #[test]
    fn slacks_own_example_holds_and_nothing_like_it() {
        assert_eq!(signed(&Secret::new(SECRET), AT, BODY.as_bytes()), SIGNATURE);
        assert_eq!(said(&[SECRET], SIGNATURE, BODY, NOW), Ok(()));
        let altered = BODY.replace("roadrunner", "roadrunnes");
        assert_eq!(said(&[SECRET], SIGNATURE, &altered, NOW), Err(NotSlacks::Forged));
        assert_eq!(said(&[SECRET], SIGNATURE, &format!("{BODY}&"), NOW), Err(NotSlacks::Forged));
        for wrong in ["", "v0=", "v0=00", &SIGNATURE[3..], &SIGNATURE.to_uppercase(), &format!("{SIGNATURE}0")] {
            assert_eq!(said(&[SECRET], wrong, BODY, NOW), Err(NotSlacks::Forged), "{wrong}");
        }
        for at in 0..SIGNATURE.len() {
            let mut other = SIGNATURE.to_owned();
            let digit = if &SIGNATURE[at..=at] == "0" { "1" } else { "0" };
            other.replace_range(at..=at, digit);
            if other != SIGNATURE {
                assert_eq!(said(&[SECRET], &other, BODY, NOW), Err(NotSlacks::Forged), "{other}");
            }
        }
    }

    #[test]
    fn either_secret_of_a_rotation_holds_and_none_is_none() {
        assert_eq!(said(&["newer", SECRET], SIGNATURE, BODY, NOW), Ok(()));
        assert_eq!(said(&[SECRET, "older"], SIGNATURE, BODY, NOW), Ok(()));
        assert_eq!(said(&["newer", "older"], SIGNATURE, BODY, NOW), Err(NotSlacks::Forged));
        assert_eq!(said(&[], SIGNATURE, BODY, NOW), Err(NotSlacks::Forged));
    }

    #[test]
    fn five_minutes_are_fresh_on_either_side_and_no_more() {
        for (now, want) in [
            (NOW - 300, Ok(())),
            (NOW + 300, Ok(())),
            (NOW - 301, Err(NotSlacks::Stale)),
            (NOW + 301, Err(NotSlacks::Stale)),
            (0, Err(NotSlacks::Stale)),
        ] {
            assert_eq!(said(&[SECRET], SIGNATURE, BODY, now), want, "{now}");
        }
        for at in ["", "+1531420618", "-1", "1531420618.0", " 1531420618", "15314206180000000000000"] {
            let secret = Secret::new(SECRET);
            let signature = signed(&secret, at, b"x");
            assert_eq!(verify(&[secret], (at, &signature), b"x", (NOW, 0)), Err(NotSlacks::Unsigned), "{at}");
        }
    }

    #[test]
    fn what_is_from_before_the_start_is_not_taken() {
        let secret = || Secret::new(SECRET);
        for (since, want) in [
            (0, Ok(())),
            (NOW, Ok(())),
            (NOW + 2, Ok(())),
            (NOW + 3, Err(NotSlacks::Before)),
            (NOW + 300, Err(NotSlacks::Before)),
        ] {
            assert_eq!(verify(&[secret()], (AT, SIGNATURE), BODY.as_bytes(), (NOW + 300, since)), want, "{since}");
        }
        let forged = verify(&[secret()], (AT, "v0=00"), BODY.as_bytes(), (NOW, NOW + 9));
        assert_eq!(forged, Err(NotSlacks::Forged), "whoever is not Slack learns nothing of when it began");
    }

    #[test]
    fn what_was_seen_is_known_for_ten_minutes_and_takes_a_bounded_place() {
        let mut seen = Seen::of_at_most(3);
        assert_eq!(seen.is_new("a", 1000), Some(true));
        assert_eq!(
            (seen.is_new("a", 1000), seen.is_new("a", 1600)),
            (Some(false), Some(false)),
            "as long as it can be fresh"
        );
        assert_eq!(seen.is_new("a", 1601), Some(true), "it would be stale by then");
        assert_eq!([1602, 1603].map(|at| seen.is_new(&at.to_string(), at)), [Some(true), Some(true)]);
        assert_eq!(seen.is_new("d", 1604), None, "there is no room, and nothing that is fresh is forgotten for it");
        assert_eq!((seen.is_new("a", 1604), seen.is_new("1602", 1604)), (Some(false), Some(false)));
        assert_eq!((seen.all.len(), seen.in_order.len()), (3, 3));
        assert_eq!(seen.is_new("d", 2202), Some(true), "the oldest is stale by then");
        assert_eq!((seen.all.len(), seen.in_order.len()), (3, 3));
    }
}

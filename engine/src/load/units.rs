//! Durations, rates and their written forms: `15m`, `1h30m`, `200ms`, `20/h`.
//!
//! Owns the one grammar for them, in playbooks, configuration and expressions. Whole numbers with a unit; a bare number
//! has none and is a mistake (save `0`).

use quell_model::playbook::Rate;
use std::time::Duration;

/// The units, long to short, in milliseconds.
const UNITS: [(&str, u64); 6] =
    [("w", 604_800_000), ("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)];

/// Reads `15m` or `1h30m`; none if it is no duration.
#[must_use]
pub fn duration(text: &str) -> Option<Duration> {
    let mut rest = text.trim();
    if rest == "0" {
        return Some(Duration::ZERO);
    }
    let mut total = 0u64;
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit())?;
        let count: u64 = rest[..digits].parse().ok()?;
        let unit_end = rest[digits..].find(|c: char| !c.is_ascii_lowercase()).map_or(rest.len(), |n| digits + n);
        let (_, each) = UNITS.into_iter().find(|(unit, _)| *unit == &rest[digits..unit_end])?;
        total = total.checked_add(count.checked_mul(each)?)?;
        rest = &rest[unit_end..];
    }
    Some(Duration::from_millis(total))
}

/// A duration as people write it: `1h30m`, `200ms`. Parts of a millisecond are left out.
#[must_use]
pub fn print_duration(span: Duration) -> String {
    let mut rest = u64::try_from(span.as_millis()).unwrap_or(u64::MAX);
    if rest == 0 {
        return "0s".to_owned();
    }
    let mut out = String::new();
    for (unit, each) in UNITS {
        if rest >= each {
            out.push_str(&format!("{}{unit}", rest / each));
            rest %= each;
        }
    }
    out
}

/// Sizes, large to small.
const SIZES: [(&str, u64); 4] = [("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];

/// Reads `1GiB` or `512MiB`; none if it is no size.
#[must_use]
pub fn size(text: &str) -> Option<u64> {
    let text = text.trim();
    let digits = text.find(|c: char| !c.is_ascii_digit())?;
    let (_, each) = SIZES.into_iter().find(|(unit, _)| *unit == text[digits..].trim_start())?;
    text[..digits].parse::<u64>().ok()?.checked_mul(each)
}

/// A size as people write it, where it is a whole number of a unit.
#[must_use]
pub fn print_size(bytes: u64) -> String {
    match SIZES.into_iter().find(|(_, each)| bytes >= *each && bytes.is_multiple_of(*each)) {
        Some((unit, each)) => format!("{}{unit}", bytes / each),
        None => bytes.to_string(),
    }
}

/// Reads `20/h` or `5/10m`; none if it is no rate.
#[must_use]
pub fn rate(text: &str) -> Option<Rate> {
    let (count, per) = text.trim().split_once('/')?;
    let count = count.trim().parse().ok()?;
    let per = per.trim();
    let per =
        if per.starts_with(|c: char| c.is_ascii_digit()) { duration(per)? } else { duration(&format!("1{per}"))? };
    (!per.is_zero()).then_some(Rate { count, per })
}

/// A rate as people write it: `20/h`.
#[must_use]
pub fn print_rate(rate: Rate) -> String {
    let per = print_duration(rate.per);
    let short = per.strip_prefix('1').filter(|unit| unit.chars().all(|c| c.is_ascii_lowercase()));
    format!("{}/{}", rate.count, short.unwrap_or(&per))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_go_there_and_back() {
        for (text, millis) in
            [("15m", 900_000), ("200ms", 200), ("1h30m", 5_400_000), ("2w", 1_209_600_000), ("1d", 86_400_000)]
        {
            let read = duration(text).unwrap();
            assert_eq!(read, Duration::from_millis(millis), "{text}");
            assert_eq!(print_duration(read), text, "{text}");
        }
        for wrong in ["", "15", "m", "1.5h", "15 m", "-1s", "5M", "99999999999999999999s", "9999999999999999w"] {
            assert_eq!(duration(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn sizes_go_there_and_back() {
        for (text, bytes) in [("1GiB", 1 << 30), ("512MiB", 512 << 20), ("3KiB", 3072), ("2TiB", 2 << 40)] {
            assert_eq!((size(text), print_size(bytes).as_str()), (Some(bytes), text));
        }
        assert_eq!(size("1 GiB"), Some(1 << 30));
        for wrong in ["", "1", "GiB", "1GB", "1gib", "-1GiB", "99999999999999TiB", "1.5GiB"] {
            assert_eq!(size(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn rates_go_there_and_back() {
        let read = rate("20/h").unwrap();
        assert_eq!((read.count, read.per), (20, Duration::from_secs(3600)));
        assert_eq!(print_rate(read), "20/h");
        assert_eq!(print_rate(rate("5/10m").unwrap()), "5/10m");
        for wrong in ["20", "x/h", "20/", "20/0s", "/h"] {
            assert_eq!(rate(wrong), None, "{wrong}");
        }
    }
}

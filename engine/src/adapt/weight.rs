//! How much memory JSON takes once it is read, told before it is: whoever brings something bounds by this what it may fill.
//!
//! Owns the estimate. Keeps true: it is rather too much than too little, whatever the JSON is made of: two bytes (`0,`) become a value of
//! some seventy, eight (`{"a":0},`) a map of some five hundred.

use super::outside::Outside;
use quell_model::Json;
use std::mem::size_of;

/// A map's entry: its hash, its key, its value, and its place in the index.
const ENTRY: usize = size_of::<(u64, String, Json)>() + 16;
/// A list or a map that holds something has room for four.
const MAP: usize = 4 * ENTRY;
const LIST: usize = 4 * size_of::<Json>();
/// What is full grows to twice its size.
const NEXT: usize = 2 * ENTRY;
/// The text of a key has a place of its own.
const KEY: usize = 32;
/// An event that is heavier is none: a mebibyte of an ordinary record weighs some twelve.
pub(super) const HEAVIEST_EVENT: usize = 32 * 1024 * 1024;
/// What an event has beside its record: its head, its subject, and what quell's own names say.
const EVENT: usize = 4096;

/// About how many bytes the events of this JSON fill at most, the JSON itself included.
#[must_use]
pub fn weight(json: &[u8]) -> usize {
    let (mut all, mut depth, mut outer) = (json.len(), 0_usize, [0_u8; 2]);
    for (_, byte) in Outside::of(json) {
        let more = match byte {
            b'{' if is_record(depth, outer) => MAP + EVENT,
            b'{' => MAP,
            b'[' => LIST,
            b',' => NEXT,
            b':' => KEY,
            _ => 0,
        };
        match byte {
            b'{' | b'[' => {
                if let Some(outer) = outer.get_mut(depth) {
                    *outer = byte;
                }
                depth += 1;
            }
            b'}' | b']' => depth = depth.saturating_sub(1),
            _ => {}
        }
        all = all.saturating_add(more);
    }
    all
}

/// Whether an object that begins here may be a record: by itself, in a list, or in a list that an object names.
fn is_record(depth: usize, outer: [u8; 2]) -> bool {
    match depth {
        0 => true,
        1 => outer[0] == b'[',
        2 => outer == *b"{[",
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What it holds, by what it is made of; what the allocator adds is not in it.
    fn held(json: &Json) -> usize {
        match json {
            Json::String(text) => text.capacity(),
            Json::Array(list) => list.capacity() * size_of::<Json>() + list.iter().map(held).sum::<usize>(),
            Json::Object(map) => {
                map.len() * ENTRY + map.iter().map(|(key, value)| key.capacity() + held(value)).sum::<usize>()
            }
            _ => 0,
        }
    }

    #[test]
    fn it_is_never_less_than_what_is_held_and_of_real_records_not_far_more() {
        for json in [
            format!("[{}0]", "0,".repeat(10_000)),
            format!("[{}0]", "[],".repeat(10_000)),
            format!("[{}0]", "{\"a\":0},".repeat(10_000)),
            format!("{{{}\"z\":0}}", (0..10_000).map(|n| format!("\"{n}\":0,")).collect::<String>()),
            "x".repeat(100),
            String::new(),
        ] {
            let read = serde_json::from_str(&json).map_or(0, |json| held(&json));
            assert!(weight(json.as_bytes()) >= read, "{}: {read}", &json[..json.len().min(20)]);
        }
        let real = include_str!("tests/kubernetes-audit.jsonl");
        let list = format!("{{\"kind\":\"EventList\",\"items\":[{}]}}", real.trim_end().replace('\n', ","));
        for form in [list.as_str(), real] {
            let times = weight(form.as_bytes()) / form.len();
            assert!((5..20).contains(&times), "{times}");
        }
    }

    #[test]
    fn brackets_in_texts_weigh_nothing() {
        assert_eq!(weight(br#""{[,:\"{""#), 9);
    }
}

//! A document of many records → its records, one after the other: what is in memory of them is one.
//!
//! Owns where a document's list stands (`[…]`, CloudTrail's `Records`, the `items` of an `EventList`) and where each of its members ends.
//! Knows JSON's brackets and strings, and not its meaning: of what is no JSON it finds something, never nothing for ever.

use super::outside::Outside;
use std::ops::Range;

/// The records of one document that are still to come.
pub(super) struct Items {
    /// The line where the document begins.
    pub(super) line: u32,
    raw: Vec<u8>,
    at: usize,
    number: usize,
}

/// One record of a document.
pub(super) struct Item {
    /// Which, from 1.
    pub(super) number: usize,
    at: Range<usize>,
}

impl Items {
    /// The members of the list that begins at `list`; none: it is empty.
    pub(super) fn of(line: u32, raw: Vec<u8>, list: usize) -> Option<Self> {
        let items = Self { line, raw, at: list + 1, number: 0 };
        (!items.is_over()).then_some(items)
    }

    /// The next record; none: that was the last.
    pub(super) fn next(&mut self) -> Option<Item> {
        let from = self.begin();
        let end = end_of(&self.raw, from);
        if end == from {
            return None;
        }
        (self.at, self.number) = (end, self.number + 1);
        Some(Item { number: self.number, at: from..end })
    }

    /// Its bytes.
    pub(super) fn bytes(&self, item: &Item) -> &[u8] {
        &self.raw[item.at.clone()]
    }

    /// Whether no record follows.
    pub(super) fn is_over(&self) -> bool {
        self.raw.get(self.begin()).is_none_or(|byte| *byte == b']')
    }

    fn begin(&self) -> usize {
        let between = |byte: &u8| byte.is_ascii_whitespace() || *byte == b',';
        self.at + self.raw[self.at..].iter().take_while(|byte| between(byte)).count()
    }
}

/// Where the list of records of a document begins; none: it is one record.
pub(super) fn list_of(raw: &[u8]) -> Option<usize> {
    let start = raw.iter().position(|byte| !byte.is_ascii_whitespace())?;
    if raw[start] == b'[' {
        return Some(start);
    }
    let (mut records, mut items, mut is_events) = (None, None, false);
    for Member { key, value } in members(raw) {
        let list = (raw.get(value.start) == Some(&b'[')).then_some(value.start);
        match key.as_str() {
            "Records" => records = list,
            "items" => items = list,
            "kind" => is_events = raw[value] == *b"\"EventList\"",
            _ => {}
        }
    }
    records.or(items.filter(|_| is_events))
}

/// A named part of an object.
pub(super) struct Member {
    pub(super) key: String,
    /// Where its value stands.
    pub(super) value: Range<usize>,
}

/// The parts of an object that is whole, in their order; of what is no object, none.
pub(super) fn members(raw: &[u8]) -> impl Iterator<Item = Member> + '_ {
    let start = raw.iter().position(|byte| !byte.is_ascii_whitespace()).unwrap_or(raw.len());
    let mut at = if raw.get(start) == Some(&b'{') { start + 1 } else { raw.len() };
    let skip = |at: usize, what: u8| {
        at + raw[at..].iter().take_while(|byte| byte.is_ascii_whitespace() || **byte == what).count()
    };
    std::iter::from_fn(move || {
        let key = skip(at, b',');
        let key_end = end_of(raw, key);
        let value = skip(key_end, b':');
        let end = end_of(raw, value);
        at = end;
        let key = serde_json::from_slice(&raw[key..key_end]).ok()?;
        (end > value).then_some(Member { key, value: value..end })
    })
}

/// Where the value ends that begins at `start`; `start` itself where none does.
fn end_of(raw: &[u8], start: usize) -> usize {
    let mut depth = 0_usize;
    for (at, byte) in Outside::of(&raw[start..]) {
        let at = start + at;
        match byte {
            b'"' if depth == 0 => return at + 1,
            b'{' | b'[' => depth += 1,
            b'}' | b']' if depth == 0 => return at,
            b'}' | b']' => {
                depth -= 1;
                if depth == 0 {
                    return at + 1;
                }
            }
            b',' | b':' if depth == 0 => return at,
            blank if depth == 0 && blank.is_ascii_whitespace() => return at,
            _ => {}
        }
    }
    raw.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(raw: &str) -> Option<Vec<String>> {
        let list = list_of(raw.as_bytes())?;
        let Some(mut items) = Items::of(1, raw.as_bytes().to_vec(), list) else { return Some(Vec::new()) };
        let mut all = Vec::new();
        while let Some(item) = items.next() {
            all.push(String::from_utf8(items.bytes(&item).to_vec()).unwrap());
            assert_eq!((item.number, items.is_over()), (all.len(), items.begin() == raw.rfind(']').unwrap()));
        }
        Some(all)
    }

    #[test]
    fn the_members_of_each_kind_of_list_come_one_after_the_other() {
        let rows: &[(&str, Option<&[&str]>)] = &[
            ("[]", Some(&[])),
            (
                " [ 1 , \"a,]\\\"\" ,{\"b\":[1,{}]},[2],null ] ",
                Some(&["1", "\"a,]\\\"\"", "{\"b\":[1,{}]}", "[2]", "null"]),
            ),
            ("{\"Records\":[{\"a\":1},\n{\"b\":2}],\"x\":{}}", Some(&["{\"a\":1}", "{\"b\":2}"])),
            ("{\"items\":[1,2],\"kind\":\"EventList\"}", Some(&["1", "2"])),
            ("{\"kind\" : \"EventList\" , \"it\\u0065ms\" : [ 1 ]}", Some(&["1"])),
            ("{\"items\":[1],\"kind\":\"List\"}", None),
            ("{\"x\":{\"Records\":[1]},\"Records\":7}", None),
            ("{\"kind\":\"Event\"}", None),
            ("7", None),
            ("", None),
        ];
        for (raw, expected) in rows {
            let expected = expected.map(|list| list.iter().map(|one| (*one).to_owned()).collect());
            assert_eq!(all(raw), expected, "{raw}");
        }
    }
}

//! Texts in the words of the kernel's maps: as many words as there are, NUL behind what is shorter.
//!
//! Keeps true: what is longer than its place is cut at a character, never written beyond it.

/// Writes it there; the last byte stays NUL.
pub(crate) fn write(words: &mut [u64], text: &str) {
    let mut end = text.len().min(words.len() * 8 - 1);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    for (word, bytes) in words.iter_mut().zip(text.as_bytes()[..end].chunks(8)) {
        let mut whole = [0; 8];
        whole[..bytes.len()].copy_from_slice(bytes);
        *word = u64::from_ne_bytes(whole);
    }
}

/// What was written there.
pub(crate) fn text(words: &[u64]) -> String {
    let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_ne_bytes()).collect();
    let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(&bytes[..end]).into_owned()
}

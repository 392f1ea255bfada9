//! The images that were executed lately, each kept once: most execs repeat one another.
//!
//! Owns the copies by which they are recognised: the record's own bytes. A hit decodes nothing and allocates nothing. Never
//! confuses two images: all bytes are compared, a hash only says where to look.

use super::Image;
use crate::record::Exec;
use std::sync::Arc;

/// So many are kept; a power of two. One that falls on another's place takes it.
const PLACES: usize = 512;
/// Longer texts are not kept: 1 MiB of bytes and about as much of images in all.
const LONGEST: usize = 2_048;

struct Kept {
    facts: [u64; 4],
    text: Box<[u8]>,
    image: Arc<Image>,
}

/// See the module.
pub(crate) struct Images {
    places: Box<[Option<Kept>]>,
}

impl std::fmt::Debug for Images {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Images({} kept)", self.places.iter().flatten().count())
    }
}

impl Default for Images {
    fn default() -> Self {
        Self { places: std::iter::repeat_with(|| None).take(PLACES).collect() }
    }
}

impl Images {
    /// The image that this record tells of.
    pub(crate) fn of(&mut self, exec: &Exec<'_>) -> Arc<Image> {
        let (facts, text) = (exec.image_facts(), exec.text());
        if text.len() > LONGEST {
            return Arc::new(Image::of_exec(exec));
        }
        #[allow(clippy::cast_possible_truncation, reason = "only the low bits are wanted")]
        let place = &mut self.places[hash(facts, text) as usize & (PLACES - 1)];
        if let Some(kept) = place.as_ref().filter(|kept| kept.facts == facts && *kept.text == *text) {
            return Arc::clone(&kept.image);
        }
        let image = Arc::new(Image::of_exec(exec));
        *place = Some(Kept { facts, text: text.into(), image: Arc::clone(&image) });
        image
    }
}

/// Spreads honest texts; who makes two meet gains nothing but a decoding.
fn hash(facts: [u64; 4], text: &[u8]) -> u64 {
    let mix = |hash: u64, word: u64| (hash.rotate_left(5) ^ word).wrapping_mul(0x517c_c1b7_2722_0a95);
    let (words, rest) = text.as_chunks::<8>();
    let hash = words.iter().fold(facts.into_iter().fold(0, mix), |hash, word| mix(hash, u64::from_ne_bytes(*word)));
    let hash = rest.iter().fold(hash, |hash, byte| mix(hash, u64::from(*byte)));
    hash ^ (hash >> 32)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Record;
    use crate::record::tests::exec_bytes;

    #[test]
    fn what_is_the_same_is_shared_and_what_differs_in_one_byte_is_not() {
        let mut images = Images::default();
        let mut bytes = exec_bytes(5_000_001, 1, 0, 0).0;
        let of = |images: &mut Images, bytes: &[u8]| match Record::read(bytes) {
            Some(Record::Exec(_, exec)) => (images.of(&exec), Image::of_exec(&exec)),
            _ => panic!("no exec"),
        };
        let (first, _) = of(&mut images, &bytes);
        assert!(Arc::ptr_eq(&first, &of(&mut images, &bytes).0));
        // All bytes that an image is read from, and the rest too: what is given is always what is in the record.
        for at in 96..bytes.len() {
            bytes[at] ^= 0x20;
            if Record::read(&bytes).is_some() {
                let (given, read) = of(&mut images, &bytes);
                assert_eq!(*given, read, "byte {at}");
            }
            bytes[at] ^= 0x20;
            assert_eq!(*of(&mut images, &bytes).0, *first);
        }
    }
}

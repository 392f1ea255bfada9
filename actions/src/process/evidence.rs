//! Evidence on its way into the vault: bounded reading, sums, and the read-back that proves it is there.
//!
//! Keeps true: one poll reads at most [`CHUNK`] bytes of a file; what was cut says so; a piece is told only after the
//! vault gave it back unchanged, and only if the process still lived once it was read: its number was its own.

use super::identity::Held;
use quell_model::store::Vault;
use quell_model::{ActionError, Evidence, Hash};
use sha2::{Digest, Sha256};
use std::fs::File;
use std::io::{self, Read};
use std::sync::Arc;

/// Read between two yields: about a millisecond.
const CHUNK: usize = 1 << 20;
/// The most of one file that is read for its sum.
const SUM_MOST: u64 = 1 << 30;

/// What was read of a file.
#[derive(Debug)]
pub(crate) struct Kept {
    pub(crate) bytes: Vec<u8>,
    pub(crate) truncated: bool,
    /// The sum of the whole file, where it is not too long to sum.
    pub(crate) whole: Option<Hash>,
}

/// Reads a file, keeps the first `most` bytes and sums all of it.
pub(crate) async fn read(mut file: impl Read + Send, most: u64) -> io::Result<Kept> {
    let most = usize::try_from(most).unwrap_or(usize::MAX);
    let mut sum = Sha256::new();
    let (mut bytes, mut total, mut chunk) = (Vec::new(), 0u64, vec![0; CHUNK]);
    loop {
        let got = match file.read(&mut chunk) {
            Ok(0) => break,
            Ok(got) => got,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        total += got as u64;
        let room = most.saturating_sub(bytes.len()).min(got);
        bytes.extend_from_slice(&chunk[..room]);
        if total > SUM_MOST {
            return Ok(Kept { truncated: true, whole: None, bytes });
        }
        sum.update(&chunk[..got]);
        tokio::task::yield_now().await;
    }
    Ok(Kept { truncated: total > bytes.len() as u64, whole: Some(Hash(sum.finalize().into())), bytes })
}

/// The pieces of one capture.
pub(crate) struct Bag<'p> {
    of: &'p Held,
    vault: Arc<dyn Vault>,
    pub(crate) pieces: Vec<Evidence>,
    /// What could not be taken, and why.
    pub(crate) missing: Vec<String>,
}

impl<'p> Bag<'p> {
    pub(crate) fn new(of: &'p Held, vault: Arc<dyn Vault>) -> Self {
        Self { of, vault, pieces: Vec::new(), missing: Vec::new() }
    }

    /// Puts a piece that was just read into the vault and reads it back; false, and noted, when the process ended.
    pub(crate) async fn put(&mut self, name: &str, bytes: Vec<u8>, truncated: bool) -> Result<bool, ActionError> {
        if self.of.is_dead() {
            self.missing.push(format!("{name}: the process ended"));
            return Ok(false);
        }
        let (size, sum) = (bytes.len() as u64, Hash::of(&bytes));
        let lost = |why: String| ActionError::retry(format!("the evidence `{name}` could not be kept: {why}"));
        let kept = self.vault.put(bytes).await.map_err(|error| lost(error.to_string()))?;
        let back = self.vault.get(&kept).await.map_err(|error| lost(error.to_string()))?;
        if kept.0 != sum || Hash::of(&back) != sum {
            return Err(lost("what was read back differs".to_owned()));
        }
        self.pieces.push(Evidence { name: name.to_owned(), sha256: kept, bytes: size, truncated });
        Ok(true)
    }

    /// Opens and keeps a file; what cannot be read is noted and no error. Gives what was kept.
    pub(crate) async fn take(
        &mut self,
        name: &str,
        file: io::Result<File>,
        most: u64,
    ) -> Result<Option<Hash>, ActionError> {
        let read = match file {
            Ok(file) => read(file, most).await,
            Err(error) => Err(error),
        };
        match read {
            Ok(kept) => {
                let put = self.put(name, kept.bytes, kept.truncated).await?;
                Ok(kept.whole.filter(|_| put))
            }
            Err(error) => {
                self.missing.push(format!("{name}: {error}"));
                Ok(None)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_cut_says_so_and_is_summed_whole() {
        let data = vec![7u8; 3 * CHUNK + 5];
        let kept = read(&data[..], 10).await.unwrap();
        assert_eq!((kept.bytes.len(), kept.truncated, kept.whole), (10, true, Some(Hash::of(&data))));
        let kept = read(&data[..], data.len() as u64).await.unwrap();
        assert_eq!((kept.bytes.len(), kept.truncated), (data.len(), false));
    }
}

//! What is pinned in a place, whoever pinned it and whether they live: for `quell uninstall`.
//!
//! Reads only.

use super::ledger::{Fired, Ledger};
use super::words::{self, Entry, Key};
use super::{CONTROL, ENTRIES, LEDGER, now, trial};
use crate::load::chain;
use aya::Pod;
use aya::maps::{Array, HashMap, Map, MapData};
use quell_model::Standing;
use std::path::Path;

/// What is entered there and has not ended.
///
/// # Errors
/// A sentence, when something is pinned there and cannot be read.
pub fn pinned(dir: &Path) -> Result<Vec<Standing>, String> {
    let path = dir.join(ENTRIES);
    if !path.exists() {
        return Ok(Vec::new());
    }
    let data = MapData::from_pin(path).map_err(|e| chain(&e))?;
    let entries: HashMap<_, Key, Entry> = HashMap::try_from(Map::HashMap(data)).map_err(|e| chain(&e))?;
    let now = now();
    let all = entries.iter().map(|one| one.map(|(key, entry)| words::standing(&key, &entry)));
    let all = all.collect::<Result<Vec<_>, _>>().map_err(|e| chain(&e))?;
    Ok(all.into_iter().filter(|one| one.terms.id != trial::OWN && one.terms.until_ns > now).collect())
}

/// What fired there and no journal has, after line `kept` of that ledger where one has.
///
/// # Errors
/// A sentence, when something is pinned there and cannot be read.
pub fn fired(dir: &Path, kept: impl Fn(u64) -> u64) -> Result<Fired, String> {
    if !dir.join(LEDGER).exists() {
        return Ok(Fired::default());
    }
    let mut ledger = Ledger::new(array(&dir.join(LEDGER))?, array(&dir.join(CONTROL))?)?;
    ledger.keep(kept(ledger.begun()))?;
    ledger.read()
}

fn array<T: Pod>(path: &Path) -> Result<Array<MapData, T>, String> {
    let data = MapData::from_pin(path).map_err(|e| chain(&e))?;
    Array::try_from(Map::Array(data)).map_err(|e| chain(&e))
}

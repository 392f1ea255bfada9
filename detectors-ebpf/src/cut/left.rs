//! What is pinned in a place, whoever pinned it and whether they live: for `quell uninstall`.
//!
//! Reads only.

use super::words::{Count, Order, Peer};
use super::{COUNTS, ORDERS, PEERS, held, now, probe};
use crate::load::chain;
use aya::maps::lpm_trie::LpmTrie;
use aya::maps::{HashMap, Map, MapData, MapError};
use quell_model::CutStanding;
use std::path::Path;

/// The orders that are entered there and have not ended. Their hooks are not looked at.
///
/// # Errors
/// A sentence, when something is pinned there and cannot be read.
pub fn pinned(dir: &Path) -> Result<Vec<CutStanding>, String> {
    if !dir.join(ORDERS).exists() {
        return Ok(Vec::new());
    }
    let map = |name: &str| MapData::from_pin(dir.join(name)).map_err(|e| chain(&e));
    let refused = |e: MapError| chain(&e);
    let orders: HashMap<_, u64, Order> = HashMap::try_from(Map::HashMap(map(ORDERS)?)).map_err(refused)?;
    let peers: LpmTrie<_, Peer, u32> = LpmTrie::try_from(Map::LpmTrie(map(PEERS)?)).map_err(refused)?;
    let counts: HashMap<_, u64, Count> = HashMap::try_from(Map::HashMap(map(COUNTS)?)).map_err(refused)?;
    let now = now();
    let all = held::standing(&orders, &peers, &counts)?;
    Ok(all.into_iter().filter(|one| one.terms.id != probe::TRIAL && one.terms.until_ns > now).collect())
}

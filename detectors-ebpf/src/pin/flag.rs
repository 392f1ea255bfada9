//! The pause flag as it is pinned: one word that all of a place's programs obey.
//!
//! Keeps true: a flag that is there and cannot be read counts as set; one of another shape, which another quell pinned, is
//! never written to.

use super::{PAUSE, PinError};
use crate::load::chain;
use aya::maps::{Array, Map, MapData, MapError, MapType};
use std::path::Path;

/// Whether it is there.
pub(super) fn is_there(dir: &Path) -> bool {
    dir.join(PAUSE).exists()
}

/// Whether it is set; false before anything obeys it.
pub(super) fn is_set(dir: &Path) -> bool {
    let value = || opened(dir).and_then(|flag| flag.get(&0, 0).map_err(|e| chain(&e)));
    is_there(dir) && value().ok().is_none_or(|value| value != 0)
}

/// Sets or lifts it.
pub(super) fn set(dir: &Path, paused: bool) -> Result<(), PinError> {
    let done = opened(dir).and_then(|mut flag| flag.set(0, u64::from(paused), 0).map_err(|e| chain(&e)));
    done.map_err(|why| PinError::Pause { dir: dir.to_owned(), why })
}

/// Whether it is there and of another shape than this build's programs obey (bpf/pause.h). The loader would hand it to
/// them all the same.
///
/// # Errors
/// When that cannot be told.
pub(super) fn is_foreign(dir: &Path) -> Result<bool, PinError> {
    let told = is_there(dir).then(|| MapData::from_pin(dir.join(PAUSE)).and_then(|data| is_fit(&data)));
    told.map_or(Ok(false), |fit| {
        fit.map(|fit| !fit).map_err(|e| PinError::Pause { dir: dir.to_owned(), why: chain(&e) })
    })
}

/// One word in an array, as bpf/pause.h has it.
fn is_fit(data: &MapData) -> Result<bool, MapError> {
    let info = data.info()?;
    let shape = (info.key_size(), info.value_size(), info.max_entries());
    Ok(shape == (4, 8, 1) && matches!(info.map_type(), Ok(MapType::Array)))
}

fn opened(dir: &Path) -> Result<Array<MapData, u64>, String> {
    let data = MapData::from_pin(dir.join(PAUSE)).map_err(|e| chain(&e))?;
    if !is_fit(&data).map_err(|e| chain(&e))? {
        return Err("another quell pinned its flag, which is of another shape".to_owned());
    }
    Array::try_from(Map::Array(data)).map_err(|e| chain(&e))
}

//! The law itself.

use super::scene::{Life, Scene, Take};
use super::story::Story;
use crate::bad_days::is_long;

/// Lives of one story: far more than it has records.
const MOST_LIVES: usize = 60;

/// Fails the test unless a scene's story ends the same however often its daemon is killed.
pub(super) fn holds(scene: impl Fn() -> Option<Scene>) {
    let Some(scene) = scene() else { return };
    let mut take = scene.take();
    let Some(life) = take.live(true, None) else { return };
    assert_eq!(life, Life::Finished);
    let undisturbed = take.end();
    // Every life writes one record, and dies at once; or dies when all that follows from it is done.
    for place in ["after:1", "before:2"] {
        let (story, lives) = chain(scene.take(), place, is_long());
        assert_eq!(story, undisturbed, "after {lives} lives that ended {place}");
        assert!(lives > 1, "nobody died: {lives} lives");
    }
    let all = undisturbed.most_writes();
    // In `make test` two deaths with the sensor before and after; the chains have met the others.
    let places: Vec<usize> = if is_long() { (1..=all).collect() } else { vec![1, all / 2] };
    for at in places {
        for side in ["before", "after"] {
            let mut take = scene.take();
            let place = format!("{side}:{at}");
            if take.live(true, Some(&place)) == Some(Life::Died) {
                assert_eq!(take.live(true, None), Some(Life::Finished), "after {place}");
            }
            assert_eq!(take.end(), undisturbed, "after {place}");
        }
    }
}

/// Life after life until the story has ended; gives how many there were.
fn chain(mut take: Take<'_>, place: &str, sensor: bool) -> (Story, usize) {
    for lives in 1..MOST_LIVES {
        match take.live(sensor, Some(place)) {
            Some(Life::Finished) => return (take.end(), lives),
            Some(Life::Died) => {}
            None => panic!("it was armed before"),
        }
    }
    panic!("{MOST_LIVES} lives, and no end ({place}): {:#?}", take.so_far());
}

//! The daemon's figures: what it is and sees, its sources, its recorder, and what stands in the kernel.

use super::page::Page;
use super::table as t;
use crate::api::{RecorderStatus, State};
use crate::daemon::{Figures, KernelFigures};
use quell_model::Class;

/// Puts them on the page.
pub(super) fn tell(page: &mut Page, figures: &Figures) {
    page.count(t::BUILD, &[env!("CARGO_PKG_VERSION")], 1);
    for state in [State::Starting, State::Armed, State::Blind, State::Stopping] {
        page.flag(t::STATE, &[state.as_str()], figures.state == state);
    }
    for (class, count) in figures.counts.by_sensor() {
        page.count(t::EVENTS, &["sensor", class.as_str()], count);
    }
    for source in &figures.sources {
        for (class, count) in source.figures().read {
            page.count(t::EVENTS, &[source.name.as_str(), class.as_str()], count);
        }
    }
    // What the sensor can lose, also when nothing of it ever was: an alert sees the first.
    let losable = |class: Class, reason: &str| !matches!(class, Class::Loss | Class::Record) && reason != "other";
    for (class, reason, count) in figures.counts.lost() {
        if count > 0 || losable(class, reason) {
            page.count(t::LOST, &[class.as_str(), reason], count);
        }
    }
    page.flag(t::SENSOR_UP, &[], figures.sees);
    if figures.sees {
        page.flag(t::SENSOR_FIRST, &[], figures.first);
        page.count(t::PROBES, &["attached"], figures.probes.0);
        page.count(t::PROBES, &["missing"], figures.probes.1);
        page.count(t::UNASKED, &[], figures.unasked);
    }
    for (ring, waiting, size) in &figures.rings {
        page.count(t::RING, &[ring], *waiting);
        page.count(t::RING_SIZE, &[ring], *size);
    }
    for source in &figures.sources {
        let (name, stands) = (source.name.as_str(), source.figures());
        page.count(t::SOURCE_UNREAD, &[name], stands.unread);
        page.count(t::SOURCE_UNREADABLE, &[name], stands.unreadable);
        page.count(t::SOURCE_TRUNCATED, &[name], stands.truncated);
        if let Some((lag, at)) = stands.last {
            page.add(t::SOURCE_LAG, &[name], lag);
            page.add(t::SOURCE_LAST, &[name], at);
        }
        if let Some(brought) = stands.brought {
            for (word, count) in brought.answered {
                page.count(t::SOURCE_DELIVERIES, &[name, word], count);
            }
            page.count(t::SOURCE_REPEATED, &[name], brought.repeated);
            page.flag(t::SOURCE_LISTENS, &[name], brought.listens);
        }
    }
    if let Some(pods) = &figures.pods {
        page.count(t::PODS, &[], pods.count);
        page.flag(t::PODS_LIVE, &[], pods.live);
        page.count(t::PODS_STALE, &[], pods.stale_seconds.unwrap_or(0));
    }
    page.count(t::RULES, &[], figures.rules.0);
    page.count(t::RULES_SKIPPED, &[], figures.rules.1);
    page.count(t::NOT_ARMED, &[], figures.not_armed);
    page.count(t::ACTIONS_MISSING, &[], figures.actions_missing);
    page.flag(t::PAUSE_FAILED, &[], figures.pause_failed);
    page.count(t::RELOADS, &["done"], figures.reloads.0);
    page.count(t::RELOADS, &["refused"], figures.reloads.1);
    page.flag(t::RELOAD_REFUSED, &[], figures.reload_refused);
    page.add(t::LOADED, &[], figures.loaded.as_millisecond() as f64 / 1000.0);
    page.flag(t::AUDIT_CONTENT, &[], figures.audit.is_content);
    for (kind, count) in &figures.audit.differences {
        page.count(t::AUDIT_DIFFERENCES, &[kind.as_str()], *count);
    }
    page.count(t::AUDIT_LADDERS, &[], figures.audit.ladders);
    page.count(t::AUDIT_LOOKS, &[], figures.audit.looks);
    if let Some(recorder) = &figures.recorder {
        tell_recorder(page, recorder);
    }
}

fn tell_recorder(page: &mut Page, recorder: &RecorderStatus) {
    page.flag(t::RECORDER_UP, &[], recorder.trouble.is_none());
    page.count(t::RECORDER_EVENTS, &[], recorder.noted);
    page.count(t::RECORDER_DROPPED, &[], recorder.dropped);
    page.count(t::RECORDER_BYTES, &[], recorder.bytes);
    page.count(t::RECORDER_SIZE, &[], recorder.size);
    page.count(t::RECORDER_PINNED, &[], recorder.pinned_bytes);
    page.count(t::RECORDER_FOLLOWED, &[], recorder.followed);
    if let Some(oldest) = recorder.oldest {
        page.add(t::RECORDER_OLDEST, &[], oldest.as_millisecond() as f64 / 1000.0);
    }
}

/// What stands in the kernel.
pub(super) fn tell_kernel(page: &mut Page, kernel: &KernelFigures) {
    page.flag(t::HANDS_UP, &[], kernel.hands.loaded);
    page.flag(t::BLOCK_UP, &[], kernel.block.loaded);
    page.flag(t::CUT_UP, &[], kernel.cut.loaded);
    if kernel.hands.loaded {
        page.count(t::HANDS_STRUCK, &[], kernel.hands.struck);
    }
    if kernel.block.loaded && kernel.block.unreadable.is_none() {
        page.count(t::BLOCKED, &[], kernel.block.blocked.len() as u64);
    }
    if kernel.cut.loaded && kernel.cut.unreadable.is_none() {
        page.count(t::CUT_OFF, &[], kernel.cut.cut_off.len() as u64);
    }
}

//! Rules → detections: Sigma, evaluated by rsigma over borrowed fields.
//!
//! Owns the loading of rules, what they mean for an event, correlation, exceptions and the report on all of it. Never
//! decides what happens next: that is the trigger's. Rules stand in a class for each logsource that they name, and an
//! event meets only the classes whose rules can match it.

mod auditd;
mod correlate;
mod coverage;
mod detector;
mod draft;
mod exception;
mod files;
mod gate;
mod kept;
mod keywords;
mod loading;
mod marked;
mod operation;
mod read;
mod reload;
mod report;
mod request;
mod rules;
mod short;
mod steady;
mod view;

#[cfg(test)]
mod tests;

pub use correlate::EVENTS_CARRIED;
pub use coverage::Given;
pub use detector::{Detector, Held, HeldDetection};
pub use draft::{Draft, DraftOf, Drafting};
pub use exception::{ExceptionInfo, end_of_day};
pub use files::RuleSource;
pub use reload::Reloader;
pub use report::{RuleLine, RuleReport};
pub use rules::Rules;

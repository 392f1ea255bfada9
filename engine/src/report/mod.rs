//! What people read of the journal: runs, incidents, their timelines, and why things went as they did.
//!
//! ```text
//! journal ──records──▶ fold ──▶ RunView, IncidentView, Explanation ──serde──▶ API ──▶ command line
//! ```
//!
//! Owns the views and their words. Never writes, keeps no state and asks nobody but the journal: a view says nothing
//! that was not recorded. Keeps true: what an attacker could have shaped stays data (a printer escapes it), and every
//! text is bounded, so that one long name does not hide the rest.

mod again;
mod bound;
mod exception;
mod explain;
mod happening;
mod incident;
mod ladder;
mod moments;
mod page;
mod promotion;
mod question;
mod run;
mod runs;
mod system;
mod timeline;
mod value;

#[cfg(test)]
mod tests;

pub use bound::{MOST_SHOWN, More, SHOWN, Wanted};
pub use exception::{ExceptionView, drafting, exception};
pub use explain::{Cause, ExplainedDetection, ExplainedMoment, Explanation, explain};
pub use happening::{Follower, Happening, Interest};
pub use incident::{
    DetectionView, IncidentSummary, IncidentView, NoteView, incident, incident_page, incidents, open_incidents,
};
pub use ladder::{LadderTold, ladder, last_notice};
pub use moments::Times;
pub use page::{LONGEST, Page};
pub use promotion::{ActsOf, RefusedBy, Tried, tried};
pub use question::{AnswerView, QuestionView};
pub use run::{
    DefinitionView, ErrorView, LeaseView, MarkView, PersonView, RefusalView, RunSummary, RunView, StepView, WaitView,
    definition, run, run_page, runs,
};
pub use runs::{RunsWanted, run_page_of};
pub use system::LossView;
pub use timeline::TimelineLine;
pub use value::{ValueWanted, value};

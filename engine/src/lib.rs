//! quell-engine: everything between an event and an outcome, and nothing that touches the world.
//!
//! **Invariant:** it acts through the crew that it is given, reads time through the clock that it is given, and writes
//! only into its journal. It names no kernel, cloud or channel.

pub mod adapt;
pub mod clock;
pub mod detect;
pub mod escalation;
pub mod incident;
pub mod load;
pub mod playbook;
pub mod recorder;
pub mod report;
pub mod run;
pub mod simulate;
pub mod source;
pub mod spread;
pub mod store;
pub mod trial;
pub mod trigger;

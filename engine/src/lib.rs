//! quell-engine: everything between an event and an outcome, and nothing that touches the world.

pub mod adapt;
pub mod clock;
pub mod detect;
pub mod load;
pub mod playbook;
pub mod source;
pub mod store;

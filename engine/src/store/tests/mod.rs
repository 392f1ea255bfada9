//! What the journal promises, tried from outside: order, crashes, refusing disks, damage.

mod backup;
mod basics;
pub(crate) mod bodies;
mod contents;
mod crash;
mod damage;
mod follow;
mod format;
mod law;
mod lists;
mod past;
mod prune;
mod refusal;
mod seal;
mod upgrade;

//! What the kernel's cut dropped, from the kernel to the engine's records.
//!
//! Keeps true: a record names how much its order had dropped in all by then, so that the journal itself says where the next one begins.

use super::Desk;
use quell_engine::run::answers::ReflexWritten;
use quell_engine::run::{EngineHandle, Request};

impl Desk {
    /// Writes down what was dropped since the last time; `last`: this daemon ends. Not to be begun again before it ends.
    pub(crate) async fn turn_cut(&self, engine: &EngineHandle, last: bool) {
        let fired = self.kernel.dropped(last);
        if fired.is_empty() {
            return;
        }
        for one in &fired {
            tracing::warn!(what = one.image, count = one.count, "the kernel dropped packets and calls");
        }
        match self.ask_soon::<ReflexWritten>(engine, Request::Reflex { fired: fired.clone() }).await {
            Ok(_) => self.kernel.kept(&fired),
            Err(refusal) => tracing::error!(%refusal, "what the kernel's cut dropped is not written yet"),
        }
    }
}

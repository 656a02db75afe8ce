//! Checks what batches state about earlier batches against their content.

use std::collections::BTreeMap;

use catchment_gateway::batch_encoder;
use catchment_proto::{
    History, Span,
    wire::{self, deliver_request::Kind},
};

/// Earlier batches checked for each batch; older ones were checked by batches before.
const LOOK_BACK: usize = 64;

/// The times that batches cover, by site and epoch, then by number.
#[derive(Clone, Debug, Default)]
pub struct Histories(BTreeMap<(usize, u64), BTreeMap<u64, Span>>);

impl Histories {
    /// What is known of a site's batches.
    pub fn of_site(&self, site: usize) -> Self {
        let known = self.0.iter().filter(|((of, _), _)| *of == site);
        Self(known.map(|(place, batches)| (*place, batches.clone())).collect())
    }

    /// A site's folder goes back to when this was known: it may use the numbers of batches that never arrived again.
    pub fn went_back(&mut self, site: usize, known: Self) {
        self.0.retain(|(of, _), _| *of != site);
        self.0.extend(known.0);
    }

    /// Records a message that leaves a gateway.
    ///
    /// # Errors
    /// It states less about an earlier batch than that batch held.
    pub fn note(&mut self, site: usize, epoch: u64, message: &wire::DeliverRequest) -> Result<(), String> {
        let Some(Kind::Batch(batch)) = message.kind.as_ref() else { return Ok(()) };
        let Some(span) = batch_encoder::batch_span(batch).filter(|_| !batch.live) else { return Ok(()) };
        let history = History::read(batch.history.as_ref()).map_err(|error| error.to_string())?;
        let known = self.0.entry((site, epoch)).or_default();
        for (number, held) in known.range(..batch.number).rev().take(LOOK_BACK) {
            let said = history.of_last(batch.number - number);
            if said.is_some_and(|said| said.join(*held) != said) {
                return Err(format!(
                    "batch {} states that batches from {number} on cover {said:?}, but that batch held {held:?}",
                    batch.number
                ));
            }
        }
        known.insert(batch.number, span);
        Ok(())
    }
}

//! Retired gateways: durable before an operator gets an answer, taken back when one begins a stream.

use catchment_journal::Disk;
use catchment_proto::GatewayId;

use crate::store::{
    StoreError,
    catalog::Catalog,
    embedded::{
        inner::Inner,
        locks::{lock, write},
    },
    flush::flusher::{FlushError, space, to_store_error, unfailed, write_gateways},
    tree::WriteBatch,
};

/// Retires a gateway, or takes it back, durably; see [`crate::store::MaintenanceStore::retire_gateway`].
///
/// # Errors
/// There is no space, and nothing changed; or the store has failed.
pub(in crate::store) fn retire_gateway<D: Disk>(
    inner: &Inner<D>,
    gateway: &GatewayId,
    retired: bool,
) -> Result<Option<bool>, StoreError> {
    inner.healthy()?;
    inner.apply_durable();
    let done = write_retired(inner, gateway, retired);
    done.map_err(|error| to_store_error(inner, error))
}

/// A failed commit ends the store, so memory may change first.
fn write_retired<D: Disk>(
    inner: &Inner<D>,
    gateway: &GatewayId,
    retired: bool,
) -> Result<Option<bool>, FlushError> {
    let meta = &mut *lock(&inner.flush_lock);
    unfailed(inner)?;
    space(inner)?;
    let mut writes = WriteBatch::new(meta.sequence.saturating_add(1));
    let before = {
        let catalog = &mut write(&inner.state).catalog;
        let before = catalog.set_retired(gateway, retired);
        write_gateways(catalog, &mut writes, meta);
        before
    };
    if writes.bytes() > 0 {
        inner.catalog_store.commit(writes, meta).map_err(|reason| FlushError::Failed(reason.into()))?;
    }
    Ok(before)
}

/// A gateway has begun a stream: it is not gone. Written down with the next flush; after a crash before that it comes back
/// again.
pub(in crate::store) fn take_back<D: Disk>(inner: &Inner<D>, catalog: &mut Catalog, gateway: &GatewayId) {
    if !catalog.is_retired(gateway) {
        return;
    }
    catalog.set_retired(gateway, false);
    inner.signal.request(|request| request.flush = true);
    tracing::warn!(%gateway, "a retired gateway has come back: it counts in completeness again");
}

//! Sends batches over one stream.

use std::{net::SocketAddr, path::Path};

use anyhow::{Context as _, bail, ensure};
use catchment_proto::{
    DictionaryEncoder,
    wire::{Batch, DeliverRequest, DeliverResponse, deliver_request, deliver_response},
};

use crate::load::delivery;

/// Most unacknowledged batches.
const IN_FLIGHT: u64 = 64;

/// Delivers batches numbered from 1 as shard 0 of a new epoch. Returns once all are acknowledged.
///
/// # Errors
/// The stream failed.
pub(crate) fn deliver(
    addr: SocketAddr,
    identity: &Path,
    batches: impl Iterator<Item = Batch>,
) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    runtime.block_on(send(addr, identity, batches))
}

async fn send(addr: SocketAddr, identity: &Path, batches: impl Iterator<Item = Batch>) -> anyhow::Result<()> {
    let (sending, mut answers) = delivery::begin(addr, identity, 1).await?;
    // As in a gateway's stream, each series is named once.
    let mut dictionary = DictionaryEncoder::default();
    let (mut number, mut acknowledged) = (0, 0);
    for batch in batches {
        number = batch.number;
        let batch = dictionary.encode(batch);
        if sending.send(DeliverRequest { kind: Some(deliver_request::Kind::Batch(batch)) }).await.is_err() {
            // The answers say why the stream has ended.
            while acknowledgement(&mut answers).await.context("after a batch was not taken")? > 0 {}
        }
        while number - acknowledged > IN_FLIGHT {
            acknowledged = acknowledgement(&mut answers).await?;
        }
    }
    while acknowledged < number {
        acknowledged = acknowledgement(&mut answers).await?;
    }
    ensure!(acknowledged == number, "more is acknowledged than was sent");
    Ok(())
}

async fn acknowledgement(answers: &mut tonic::Streaming<DeliverResponse>) -> anyhow::Result<u64> {
    match answers.message().await?.context("the aggregator ended the stream")?.kind {
        Some(deliver_response::Kind::Ack(ack)) => Ok(ack.number),
        other => bail!("not an acknowledgement: {other:?}"),
    }
}

//! Lists with a bound of the caller's.

use catchment_proto::wire;
use tonic::Streaming;

use super::{AggregatorClient, ClientError, request};

/// A list, and whether there is more.
#[derive(Clone, Debug, Default)]
pub(crate) struct Listed<T> {
    /// The first entries.
    pub(crate) entries: Vec<T>,
    /// Further ones were left out.
    pub(crate) more: bool,
}

impl AggregatorClient {
    /// Lists the first `most` devices.
    ///
    /// # Errors
    /// As [`Self::aggregate`].
    pub(crate) async fn first_devices(&mut self, most: usize) -> Result<Listed<wire::Device>, ClientError> {
        let response = self.fleet.list_devices(request("")).await;
        let stream = response.map_err(|status| self.refused(&status))?.into_inner();
        self.first(stream, most).await
    }

    /// Lists the first `most` gateways.
    ///
    /// # Errors
    /// As [`Self::aggregate`].
    pub(crate) async fn first_gateways(&mut self, most: usize) -> Result<Listed<wire::Gateway>, ClientError> {
        let response = self.fleet.list_gateways(request("")).await;
        let stream = response.map_err(|status| self.refused(&status))?.into_inner();
        self.first(stream, most).await
    }

    async fn first<T>(&self, mut stream: Streaming<T>, most: usize) -> Result<Listed<T>, ClientError> {
        let mut entries = Vec::new();
        while let Some(entry) = stream.message().await.map_err(|status| self.refused(&status))? {
            if entries.len() >= most {
                return Ok(Listed { entries, more: true });
            }
            entries.push(entry);
        }
        Ok(Listed { entries, more: false })
    }
}

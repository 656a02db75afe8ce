//! Lists entry by entry: a reader that keeps little of each needs no memory for all.

use tonic::Streaming;

use super::{AggregatorClient, ClientError, request};
use catchment_proto::wire;

impl AggregatorClient {
    /// Gives each device to `take` until it returns false.
    ///
    /// # Errors
    /// As [`Self::aggregate`].
    pub(crate) async fn each_device(
        &mut self,
        take: impl FnMut(wire::Device) -> bool,
    ) -> Result<(), ClientError> {
        let response = self.fleet.list_devices(request("")).await;
        let stream = response.map_err(|status| self.refused(&status))?.into_inner();
        self.each(stream, take).await
    }

    /// Gives each series to `take` until it returns false.
    ///
    /// # Errors
    /// As [`Self::aggregate`].
    pub(crate) async fn each_series(
        &mut self,
        take: impl FnMut(wire::Series) -> bool,
    ) -> Result<(), ClientError> {
        let response = self.fleet.list_series(request("")).await;
        let stream = response.map_err(|status| self.refused(&status))?.into_inner();
        self.each(stream, take).await
    }

    async fn each<T>(
        &self,
        mut stream: Streaming<T>,
        mut take: impl FnMut(T) -> bool,
    ) -> Result<(), ClientError> {
        while let Some(entry) = stream.message().await.map_err(|status| self.refused(&status))? {
            if !take(entry) {
                break;
            }
        }
        Ok(())
    }
}

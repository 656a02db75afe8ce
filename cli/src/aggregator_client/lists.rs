//! Lists entry by entry: a reader that keeps little of each, or only the first ones, needs no memory for all.

use catchment_proto::wire;
use tonic::Streaming;

use super::{AggregatorClient, ClientError, request};

/// The beginning of a list, and whether there is more.
#[derive(Clone, Debug, Default)]
pub(crate) struct Listed<T> {
    /// The first entries.
    pub(crate) entries: Vec<T>,
    /// Further ones were left out.
    pub(crate) more: bool,
}

impl<T> Listed<T> {
    /// Adds an entry; false: there are `most` already, and it was left out.
    fn add(&mut self, entry: T, most: usize) -> bool {
        self.more = self.entries.len() >= most;
        if !self.more {
            self.entries.push(entry);
        }
        !self.more
    }
}

impl AggregatorClient {
    /// Lists the first `most` devices.
    ///
    /// # Errors
    /// As [`Self::aggregate`].
    pub(crate) async fn first_devices(&mut self, most: usize) -> Result<Listed<wire::Device>, ClientError> {
        let mut first = Listed { entries: Vec::new(), more: false };
        self.each_device(|device| first.add(device, most)).await?;
        Ok(first)
    }

    /// Lists the first `most` gateways.
    ///
    /// # Errors
    /// As [`Self::aggregate`].
    pub(crate) async fn first_gateways(&mut self, most: usize) -> Result<Listed<wire::Gateway>, ClientError> {
        let response = self.fleet.list_gateways(request("")).await;
        let stream = response.map_err(|status| self.refused(&status))?.into_inner();
        let mut first = Listed { entries: Vec::new(), more: false };
        self.each(stream, |gateway| first.add(gateway, most)).await?;
        Ok(first)
    }

    /// One page of the list of devices. An older aggregator does not know this.
    ///
    /// # Errors
    /// As [`Self::aggregate`].
    pub(crate) async fn device_page(
        &mut self,
        request: wire::PageRequest,
    ) -> Result<wire::DevicePage, ClientError> {
        let response = self.fleet.page_devices(request).await;
        Ok(response.map_err(|status| self.refused(&status))?.into_inner())
    }

    /// One page of the list of gateways. An older aggregator does not know this.
    ///
    /// # Errors
    /// As [`Self::aggregate`].
    pub(crate) async fn gateway_page(
        &mut self,
        request: wire::PageRequest,
    ) -> Result<wire::GatewayPage, ClientError> {
        let response = self.fleet.page_gateways(request).await;
        Ok(response.map_err(|status| self.refused(&status))?.into_inner())
    }

    /// The state of the fleet in numbers. An older aggregator does not know this.
    ///
    /// # Errors
    /// As [`Self::aggregate`].
    pub(crate) async fn summary(
        &mut self,
        request: wire::SummaryRequest,
    ) -> Result<wire::FleetSummary, ClientError> {
        let response = self.fleet.summarize(request).await;
        Ok(response.map_err(|status| self.refused(&status))?.into_inner())
    }

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

//! A gateway's stream to the aggregator, made by hand, for messages that no real gateway would send, or not at this
//! time.

use catchment_partial::{Partial, Timestamp, Width, Window};
use catchment_proto::{
    History, Span,
    wire::{
        self, DeliverRequest, DeliverResponse, deliver_request::Kind, deliver_response,
        ingest_client::IngestClient,
    },
};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Streaming, transport::Channel};

use crate::eventually::within;

/// A gateway's stream whose messages a test chooses.
pub struct Delivery {
    requests: mpsc::Sender<DeliverRequest>,
    responses: Streaming<DeliverResponse>,
    number: u64,
    history: History,
}

impl Delivery {
    /// Opens a stream over a gateway's connection to the aggregator, for an epoch of one shard created at a given time.
    ///
    /// # Panics
    /// When the aggregator refuses the stream.
    pub async fn start(channel: Channel, epoch: u64, epoch_created_ms: i64) -> Self {
        let (requests, outgoing) = mpsc::channel(16);
        let start = wire::Start { epoch, epoch_created_ms, shards: 1, ..wire::Start::default() };
        requests.send(DeliverRequest { kind: Some(Kind::Start(start)) }).await.unwrap();
        let deliver = async {
            let mut client = IngestClient::new(channel);
            let mut responses = client.deliver(ReceiverStream::new(outgoing)).await.unwrap().into_inner();
            let resume = responses.message().await.unwrap().and_then(|response| response.kind);
            let Some(deliver_response::Kind::Resume(resume)) = resume else { panic!("{resume:?}") };
            Self { requests, responses, number: resume.delivered[0], history: History::default() }
        };
        within("a stream", deliver).await
    }

    /// Skips batch numbers as if they had been delivered before, with windows in a time range.
    ///
    /// # Panics
    /// When the range is invalid.
    pub fn skip(&mut self, batches: u64, from_ms: i64, to_ms: i64) {
        let time = |ms| Timestamp::from_millis(ms).unwrap();
        self.number += batches;
        self.history.push(batches, Span { from: time(from_ms), to: time(to_ms) });
    }

    /// Tells when the certificate of a device ends, Unix seconds.
    ///
    /// # Panics
    /// When the stream has ended.
    pub async fn tell_certificate(&self, device: &str, expires_s: i64) {
        let device = device.to_owned();
        let one = wire::DeviceCertificate { device, expires_s, session_began_s: 1 };
        let kind = Kind::Certificates(wire::DeviceCertificates { devices: vec![one] });
        self.requests.send(DeliverRequest { kind: Some(kind) }).await.unwrap();
    }

    /// Delivers one reading of `temperature` in its one-second window, with a watermark, and waits for the ack.
    ///
    /// # Panics
    /// When no ack arrives.
    pub async fn deliver(&mut self, time_ms: i64, value: f64, watermark_ms: i64) {
        let mut partial = Partial::empty();
        partial.push(Timestamp::from_millis(time_ms).unwrap(), value);
        self.deliver_partial("rogue", "temperature", time_ms, &partial, watermark_ms).await;
    }

    /// Delivers a partial of a device's metric in the one-second window that contains a time, with a watermark, and
    /// waits for the ack. Several for one window are several parts.
    ///
    /// # Panics
    /// When no ack arrives.
    pub async fn deliver_partial(
        &mut self,
        device: &str,
        metric: &str,
        time_ms: i64,
        partial: &Partial,
        watermark_ms: i64,
    ) {
        self.deliver_devices(&[device.to_owned()], metric, time_ms, partial, watermark_ms).await;
    }

    /// As [`Self::deliver_partial`], of many devices in one batch.
    ///
    /// # Panics
    /// When no ack arrives.
    pub async fn deliver_devices(
        &mut self,
        devices: &[String],
        metric: &str,
        time_ms: i64,
        partial: &Partial,
        watermark_ms: i64,
    ) {
        self.number += 1;
        let time = Timestamp::from_millis(time_ms).unwrap();
        let window = Window::containing(time, Width::from_millis(1000).unwrap());
        let mut body = Vec::new();
        partial.encode(window.start(), &mut body);
        let series = |device: &String| wire::SeriesRef {
            device: device.clone(),
            metric: metric.to_owned(),
            labels: Vec::new(),
        };
        // Columns of differences: what is the same in all is there once.
        let first =
            |value: i64| devices.iter().enumerate().map(move |(place, _)| if place == 0 { value } else { 0 });
        let batch = wire::Batch {
            number: self.number,
            watermark_ms,
            width_ms: 1000,
            history: self.history.wire(window.width()),
            series: devices.iter().map(series).collect(),
            series_index: devices.iter().enumerate().map(|(place, _)| i64::from(place > 0)).collect(),
            window: first(window.index()).collect(),
            part: first(i64::try_from(self.number).unwrap()).collect(),
            revision: devices.iter().map(|_| 0).collect(),
            body_bytes: devices.iter().map(|_| u32::try_from(body.len()).unwrap()).collect(),
            bodies: body.repeat(devices.len()).into(),
            ..wire::Batch::default()
        };
        self.requests.send(DeliverRequest { kind: Some(Kind::Batch(batch)) }).await.unwrap();
        let acked = async {
            loop {
                let response = self.responses.message().await.unwrap().and_then(|response| response.kind);
                if matches!(&response, Some(deliver_response::Kind::Ack(ack)) if ack.number >= self.number) {
                    return;
                }
            }
        };
        within("an ack", acked).await;
        self.history.push(1, Span { from: window.start(), to: window.end() });
    }
}

//! The stream of a subscription's messages.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use catchment_proto::wire::WatchResponse;
use tokio_stream::Stream;
use tonic::Status;

use super::{
    hub::Hub,
    subscription::{Next, Subscription},
};

/// The reader's end of a subscription, which ends with it.
pub(super) struct WatchReader {
    pub(super) hub: Arc<Hub>,
    pub(super) subscription: Arc<Subscription>,
    pub(super) over: bool,
}

impl Stream for WatchReader {
    type Item = Result<WatchResponse, Status>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        if this.over {
            return Poll::Ready(None);
        }
        match this.subscription.outbox.poll_read(context) {
            Poll::Ready(Next::Message { message, drained }) => {
                if drained && this.subscription.wants_round() {
                    this.hub.schedule(&this.subscription);
                }
                Poll::Ready(Some(Ok(message)))
            }
            Poll::Ready(Next::End(status)) => {
                this.over = true;
                Poll::Ready(status.map(Err))
            }
            Poll::Pending => Poll::Pending,
        }
    }
}

impl Drop for WatchReader {
    fn drop(&mut self) {
        self.subscription.outbox.abandon();
        self.hub.leave(&self.subscription);
    }
}

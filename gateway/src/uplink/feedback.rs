//! What the aggregator has said about one shard's batches on a stream.

/// Merged until the sender looks at it: the highest acknowledgement and the last refusal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Feedback {
    /// Everything up to this number is durable.
    pub(super) ack: u64,
    /// The batch that was refused last; 0: none was.
    pub(super) refused: u64,
    /// Refusals on the stream.
    pub(super) refusals: u64,
}

impl Feedback {
    /// Everything up to a number is durable. Returns whether that is news.
    pub fn acknowledge(&mut self, number: u64) -> bool {
        let is_news = self.ack < number;
        self.ack = self.ack.max(number);
        is_news
    }

    /// A batch was refused.
    pub fn refuse(&mut self, number: u64) {
        self.refused = number;
        self.refusals += 1;
    }
}

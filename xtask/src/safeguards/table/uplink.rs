//! What leaves the outbox, and what of it is released.

use super::{Check, SIMULATION, Safeguard, unit};

pub(in super::super) const UPLINK: &[Safeguard] = &[
    Safeguard {
        name: "acknowledgement timeout",
        without: "an aggregator that acknowledges nothing is never left",
        file: "gateway/src/uplink/stream.rs",
        find: "shard = ack_deadlines.expired() =>",
        replace: "shard = ack_deadlines.expired(), if config.ack_timeout.is_zero() =>",
        check: Check {
            package: "catchment-tests",
            target: "--test=system",
            filter: "defects::an_aggregator",
        },
        quick: false,
    },
    Safeguard {
        name: "refused is not delivered",
        without: "the gateway releases its outbox although a batch of it was refused",
        file: "gateway/src/uplink/in_flight.rs",
        find: "self.waiting.is_empty() && !self.refused",
        replace: "self.waiting.is_empty()",
        check: unit("catchment-gateway", "uplink::in_flight"),
        quick: false,
    },
    Safeguard {
        name: "released up to the acknowledgement",
        without: "the gateway releases one batch more of its outbox than the aggregator has acknowledged",
        file: "gateway/src/uplink/in_flight.rs",
        find: "*number <= ack)",
        replace: "*number <= ack.saturating_add(1))",
        check: SIMULATION,
        quick: false,
    },
    Safeguard {
        name: "pause after a refusal",
        without: "the gateway sends a refused batch again at once",
        file: "gateway/src/uplink/sender_core.rs",
        find: "Some(_) => 0,",
        replace: "Some(_) => self.in_flight_max,",
        check: unit("catchment-gateway", "uplink::sender_core"),
        quick: false,
    },
    Safeguard {
        name: "progress after its batches",
        without: "the gateway reports windows as delivered whose batches are in flight",
        file: "gateway/src/uplink/sender_core.rs",
        find: "self.in_flight.is_empty() && self.inputs.durable >= progress.outbox_end",
        replace: "self.inputs.durable >= progress.outbox_end",
        check: unit("catchment-gateway", "uplink::sender_core"),
        quick: false,
    },
    Safeguard {
        name: "release without an echo",
        without: "the release of an idle outbox wakes its sender, which releases it again, forever",
        file: "gateway/src/uplink/sender_core.rs",
        find: "if mem::replace(&mut self.released, outbox) != outbox {",
        replace: "if mem::replace(&mut self.released, outbox) != outbox || outbox.is_some() {",
        check: unit("catchment-gateway", "uplink::sender_core"),
        quick: false,
    },
];

//! Safeguards that keep every acknowledged reading counted once, each with the change that removes it and the check
//! that must then fail. Files on which many crates depend come last, so that less is compiled again.

mod door;
mod fairness;
mod folders;
mod trust;
mod uplink;

pub(super) use door::DOOR;
pub(super) use fairness::FAIRNESS;
pub(super) use folders::FOLDERS;
pub(super) use trust::TRUST;
pub(super) use uplink::UPLINK;

/// Tests of one package.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Check {
    pub(super) package: &'static str,
    /// `--lib`, or `--test=NAME`.
    pub(super) target: &'static str,
    /// Prefix or part of their names.
    pub(super) filter: &'static str,
}

const fn unit(package: &'static str, filter: &'static str) -> Check {
    Check { package, target: "--lib", filter }
}

/// Schedules of the simulation against the naive model.
const SIMULATION: Check = unit("catchment-simulation", "tests::every_schedule_ends_in_the_truth");

/// A safeguard.
#[derive(Debug)]
pub(super) struct Safeguard {
    pub(super) name: &'static str,
    /// The product's behaviour without it.
    pub(super) without: &'static str,
    pub(super) file: &'static str,
    /// Occurs once in the file.
    pub(super) find: &'static str,
    pub(super) replace: &'static str,
    pub(super) check: Check,
    /// Part of `--quick`.
    pub(super) quick: bool,
}

pub(super) const SAFEGUARDS: &[Safeguard] = &[
    Safeguard {
        name: "sequence check",
        without: "the gateway takes a message whose number it has seen",
        file: "gateway/src/device/sessions/deduplicate.rs",
        find: "if seq <= highest {",
        replace: "if seq == u64::MAX {",
        check: SIMULATION,
        quick: true,
    },
    Safeguard {
        name: "ack after the commit",
        without: "the gateway acknowledges before the journal is synced",
        file: "gateway/src/session/responses.rs",
        find: "front.durable_at() <= durable)",
        replace: "front.durable_at() <= durable.max(Position::new(u64::MAX)))",
        check: SIMULATION,
        quick: true,
    },
    Safeguard {
        name: "partials after the commit",
        without: "a closed partial goes to the outbox before the decision that closed it is synced",
        file: "gateway/src/shard/outbox.rs",
        find: "if pending.closed_at >= durable {",
        replace: "if pending.closed_at >= Position::new(u64::MAX) && pending.closed_at >= durable {",
        check: SIMULATION,
        quick: true,
    },
    Safeguard {
        name: "replace by revision, live",
        without: "the store keeps the first state of an open window that it gets",
        file: "aggregator/src/store/memtable/live.rs",
        find: "slot.get().revision < revision =>",
        replace: "slot.get().revision > revision =>",
        check: SIMULATION,
        quick: true,
    },
    Safeguard {
        name: "one state a name",
        without: "both of two states of a partial count",
        file: "aggregator/src/store/memtable/row.rs",
        find: "later.place() == kept.place()",
        replace: "later.place() == kept.place() && later.revision() == u64::MAX",
        check: SIMULATION,
        quick: false,
    },
    Safeguard {
        name: "checkpoint behind the outbox",
        without: "a checkpoint is written before the outbox is synced up to it",
        file: "gateway/src/shard/facade.rs",
        find: " && self.outbox.durable() >= capture.outbox_end",
        replace: "",
        check: SIMULATION,
        quick: false,
    },
    Safeguard {
        name: "journal behind the checkpoint",
        without: "the gateway releases its journal beyond its checkpoint",
        file: "gateway/src/shard/journaled_state.rs",
        find: "self.kept.delivered(&self.journal, before, now);",
        replace: "self.kept.delivered(&self.journal, Position::new(position.get() + 16384), now);",
        check: SIMULATION,
        quick: false,
    },
    Safeguard {
        name: "entry without fold",
        without: "the gateway keeps running after a panic between an entry's append and its fold",
        file: "gateway/src/shard/poison_guard.rs",
        find: "if thread::panicking() {",
        replace: "if thread::panicking() && self.0.poisoned().is_some() {",
        check: unit("catchment-gateway", "shard::tests::panics"),
        quick: false,
    },
    Safeguard {
        name: "supervision",
        without: "a worker's task that panics is not noticed",
        file: "gateway/src/worker/thread.rs",
        find: "actix::spawn(self.supervisor.task(&name, move |why| journal.poison(why), body));",
        replace: "drop((name, journal));\n        actix::spawn(body);",
        check: Check { package: "catchment-tests", target: "--test=system", filter: "defects::a_worker" },
        quick: false,
    },
    Safeguard {
        name: "room for answers",
        without: "the gateway drops refusals of a client that reads them",
        file: "gateway/src/session/room.rs",
        find: "Box::pin(self.wait_for_room()).await",
        replace: "drop(self.wait_for_room());\n        Ok(false)",
        check: Check {
            package: "catchment-tests",
            target: "--test=system",
            filter: "limits::a_peer_that_reads",
        },
        quick: false,
    },
    Safeguard {
        name: "batch applied half-way",
        without: "the aggregator flushes and acknowledges after a panic while it applies a batch",
        file: "aggregator/src/store/embedded/inner.rs",
        find: "self.state.is_poisoned() || self.admission",
        replace: "self.admission",
        check: unit("catchment-aggregator", "store::embedded::tests::panics"),
        quick: false,
    },
    Safeguard {
        name: "replace by revision",
        without: "of two states of a partial, the older one counts in results and in tables",
        file: "aggregator/src/store/memtable/row.rs",
        find: "b.revision().cmp(&a.revision())",
        replace: "a.revision().cmp(&b.revision())",
        check: unit("catchment-aggregator", "store::"),
        quick: false,
    },
    Safeguard {
        name: "batch numbers",
        without: "the aggregator appends a batch again although it has seen its number",
        file: "aggregator/src/store/wal/admission.rs",
        find: "if number <= waiting.map_or(applied, |last| last.number) {",
        replace: "if number == 0 && number <= waiting.map_or(applied, |last| last.number) {",
        check: unit("catchment-aggregator", "store::"),
        quick: false,
    },
    Safeguard {
        name: "missing batches make a gap",
        without: "results claim to be complete although the store has lost batches",
        file: "aggregator/src/store/catalog/gaps.rs",
        find: "self.gaps.push(ShardGap { first, last, noticed, end, gap });",
        replace: "let _ = ShardGap { first, last, noticed, end, gap };",
        check: unit("catchment-aggregator", "store::catalog::gaps"),
        quick: false,
    },
    Safeguard {
        name: "gaps hold late windows",
        without: "results claim to include late readings that were in lost batches",
        file: "aggregator/src/store/catalog/gaps.rs",
        find: "let gap = Gap { from, to: end.or(to), batches };",
        replace: "let gap = Gap { from: self.whole_to, to: end.or(to), batches };",
        check: unit("catchment-aggregator", "tests::completeness"),
        quick: false,
    },
    Safeguard {
        name: "gaps end by themselves",
        without: "a gap of an epoch that ended with it stays open forever",
        file: "aggregator/src/store/catalog/gaps.rs",
        find: "let gap = Gap { from, to: end.or(to), batches };",
        replace: "let gap = Gap { from, to, batches };",
        check: unit("catchment-aggregator", "store::catalog::gaps"),
        quick: false,
    },
    Safeguard {
        name: "damage is no history",
        without: "after damage to its journal, a gateway reports less of its batches than they held",
        file: "gateway/src/fold/numbers.rs",
        find: "if next > self.next_batch && !self.damaged",
        replace: "if next > self.next_batch",
        check: unit("catchment-gateway", "fold::tests"),
        quick: false,
    },
    Safeguard {
        name: "answers exclude gaps",
        without: "results claim to be complete over known gaps",
        file: "aggregator/src/query/completeness.rs",
        find: "once(watermark_ms).chain(losses)",
        replace: "once(watermark_ms)",
        check: unit("catchment-aggregator", "query::completeness"),
        quick: false,
    },
    Safeguard {
        name: "a gateway that may still deliver counts",
        without: "results claim to be complete while a gateway is silent",
        file: "aggregator/src/query/completeness.rs",
        find: "let may_deliver = behind && held",
        replace: "let may_deliver = false && held",
        check: unit("catchment-aggregator", "query::completeness"),
        quick: false,
    },
    Safeguard {
        name: "late corrections counted once",
        without: "a replay counts late corrections and refused readings again",
        file: "aggregator/src/store/wal/apply.rs",
        find: "if batch.number > self.catalog.delivered(epoch, batch.shard) {",
        replace: "if batch.number > 0 {",
        check: unit("catchment-aggregator", "store::embedded::tests::completeness"),
        quick: false,
    },
    Safeguard {
        name: "no watermark of the future",
        without: "a gateway whose clock is years ahead counts as complete for years",
        file: "aggregator/src/clock_bound.rs",
        find: "(ahead > self.tolerance_ms).then_some(ahead)",
        replace: "(ahead == i64::MAX).then_some(ahead)",
        check: unit("catchment-aggregator", "tests::completeness"),
        quick: false,
    },
    Safeguard {
        name: "one run delivers",
        without: "the aggregator accepts batches of a run after another run of the same folder has started",
        file: "aggregator/src/store/wal/admission.rs",
        find: "runs.get(&(epoch.gateway.clone(), epoch.id)).is_none_or(|current| current.run == epoch.run)",
        replace: "runs.get(&(epoch.gateway.clone(), epoch.id)).is_none_or(|current| current.run > 0)",
        check: unit("catchment-aggregator", "store::wal::admission"),
        quick: false,
    },
    Safeguard {
        name: "room before the journal",
        without: "the aggregator accepts batches although there is no room for their series",
        file: "aggregator/src/store/wal/admission.rs",
        find: "quota.fits(gateway, count).map_err(|message| StoreError::TooManySeries { message })?;",
        replace: "quota.fits(gateway, count).unwrap_or_default();",
        check: unit("catchment-aggregator", "store::removal::forget_series"),
        quick: false,
    },
    Safeguard {
        name: "budget of series",
        without: "the gateway accepts more new series than its aggregator allows",
        file: "gateway/src/budget.rs",
        find: "(count < max).then_some(count + 1)",
        replace: "(count < u64::MAX).then_some(count + 1)",
        check: unit("catchment-gateway", "budget::"),
        quick: false,
    },
    Safeguard {
        name: "journal released after the flush",
        without: "the aggregator releases its journal before the tables are written",
        file: "aggregator/src/store/flush/flusher.rs",
        find: "    write_round(inner, meta, position, &counted, frozen)\n",
        replace: "    inner.log.release(position);\n    write_round(inner, meta, position, &counted, frozen)\n",
        check: unit("catchment-aggregator", "store::"),
        quick: false,
    },
    Safeguard {
        name: "lost windows are not missed",
        without: "minutes, hours and days over lost windows count as wrong, and are made again from those that are left",
        file: "aggregator/src/store/salvage/tables/known.rs",
        find: "interval.start() >= windows_from && !self.lost.meets(series, interval)",
        replace: "interval.start() >= windows_from",
        check: unit("catchment-aggregator", "store::salvage::repair::tests::tables"),
        quick: false,
    },
    Safeguard {
        name: "tables that came back",
        without: "a repair counts a merged table and those that it was made of",
        file: "aggregator/src/store/salvage/repair.rs",
        find: "other.id > entry.id && other.shares_ages(entry)",
        replace: "other.id > entry.id && other.id == entry.id && other.shares_ages(entry)",
        check: unit("catchment-aggregator", "store::salvage::repair::tests::tables"),
        quick: false,
    },
    Safeguard {
        name: "sync before the ack",
        without: "the journal treats a block as durable that was written but never synced",
        file: "journal/src/writer.rs",
        find: "        if let Err(error) = self.file.sync_data() {\n            return Err(self.failed(\"sync\", &error));\n        }\n        self.check_place",
        replace: "        self.check_place",
        check: SIMULATION,
        quick: true,
    },
    Safeguard {
        name: "link of the written file",
        without: "a commit into a segment that was removed or cut short is acknowledged",
        file: "journal/src/writer.rs",
        find: "        self.check_place().map_err(|error| WriteError::Failed(error.to_string().into()))?;",
        replace: "        let _ = self.check_place();",
        check: unit("catchment-journal", "tests::presence"),
        quick: true,
    },
    Safeguard {
        name: "a segment that ends while it is checked",
        without: "a log under load stops its server, because its committer shortened a segment that it ended",
        file: "journal/src/segments.rs",
        find: "            if now == seen {",
        replace: "            if now == seen || seen.is_some() {",
        check: unit("catchment-journal", "tests::presence"),
        quick: false,
    },
    Safeguard {
        name: "numbers of a shard that is given up",
        without: "a shard that lost everything uses its numbers and positions again",
        file: "gateway/src/shard/recover/replay.rs",
        find: "(start == end && begin.given_up)",
        replace: "(start == end && begin.given_up && others)",
        check: unit("catchment-gateway", "shard::tests::starts"),
        quick: false,
    },
    Safeguard {
        name: "file of the catalog in its place",
        without: "the aggregator releases its journal for records that were written into a removed file",
        file: "aggregator/src/store/tree/sled_tree.rs",
        find: "self.check_file().map_err(|error| error.to_string())",
        replace: "Ok(())",
        check: unit("catchment-aggregator", "store::salvage::folder_watch"),
        quick: false,
    },
    Safeguard {
        name: "checksum",
        without: "a record is read whatever its checksum says",
        file: "journal/src/scan.rs",
        find: "Ok((crc == header.crc).then_some(header))",
        replace: "Ok((crc == header.crc || crc != header.crc).then_some(header))",
        check: unit("catchment-journal", "tests::damage"),
        quick: false,
    },
    Safeguard {
        name: "one name, one series",
        without: "readings of two names that map to one metric are summed",
        file: "gateway/src/decode/sink.rs",
        find: "if let Err(message) = self.table.check_spelling(written, metric) {",
        replace: "if let (true, Err(message)) = (metric.is_empty(), self.table.check_spelling(written, metric)) {",
        check: unit("catchment-gateway", "decode::json"),
        quick: false,
    },
    Safeguard {
        name: "HTTP is no line protocol",
        without: "an HTTP client's body is read as line protocol, on each of its retries",
        file: "gateway/src/session/protocol_detection.rs",
        find: "if is_version(last, b\"HTTP/\") {",
        replace: "if is_version(last, b\"HTTP/?\") {",
        check: unit("catchment-gateway", "session::protocol_detection"),
        quick: false,
    },
];

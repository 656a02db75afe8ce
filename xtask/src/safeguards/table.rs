//! What keeps every acknowledged reading counted once, each with the change that removes it and the check that must
//! then fail. Ordered so that what much depends on is changed last: less is compiled again.

/// Tests of one package.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Check {
    pub(super) package: &'static str,
    /// `--lib`, or `--test=NAME`.
    pub(super) target: &'static str,
    /// What their names begin with or contain.
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
    /// What the product does without it.
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
        file: "gateway/src/device/desk.rs",
        find: "if seq <= sorted.highest {",
        replace: "if seq == u64::MAX {",
        check: SIMULATION,
        quick: true,
    },
    Safeguard {
        name: "ack after the commit",
        without: "the gateway acknowledges before the journal is synced",
        file: "gateway/src/session/answers.rs",
        find: "front.durable_at() <= durable)",
        replace: "front.durable_at() <= durable.max(Position::new(u64::MAX)))",
        check: SIMULATION,
        quick: true,
    },
    Safeguard {
        name: "partials after the commit",
        without: "a closed partial goes to the outbox before the decision that closed it is synced",
        file: "gateway/src/shard/mod.rs",
        find: "if pending.closed_at >= durable {",
        replace: "if pending.closed_at >= Position::new(u64::MAX) && pending.closed_at >= durable {",
        check: SIMULATION,
        quick: true,
    },
    Safeguard {
        name: "replace by revision, live",
        without: "the store keeps the first state of an open window that it gets",
        file: "aggregator/src/store/live.rs",
        find: "slot.get().revision < revision =>",
        replace: "slot.get().revision > revision =>",
        check: SIMULATION,
        quick: true,
    },
    Safeguard {
        name: "one state a name",
        without: "two states of a partial count both",
        file: "aggregator/src/store/row.rs",
        find: "later.place() == kept.place()",
        replace: "later.place() == kept.place() && later.revision() == u64::MAX",
        check: SIMULATION,
        quick: false,
    },
    Safeguard {
        name: "checkpoint behind the outbox",
        without: "a checkpoint is written before the outbox is synced up to it",
        file: "gateway/src/shard/checkpoint.rs",
        find: " && self.outbox.durable() >= capture.outbox_end",
        replace: "",
        check: SIMULATION,
        quick: false,
    },
    Safeguard {
        name: "journal behind the checkpoint",
        without: "the gateway releases its journal beyond its checkpoint",
        file: "gateway/src/shard/checkpoint.rs",
        find: "self.journal.release(before);",
        replace: "self.journal.release(Position::new(position.get() + 16384));",
        check: SIMULATION,
        quick: false,
    },
    Safeguard {
        name: "entry without fold",
        without: "a panic between an entry's append and its fold leaves the gateway at work",
        file: "gateway/src/shard/armed.rs",
        find: "if thread::panicking() {",
        replace: "if thread::panicking() && self.0.poisoned().is_some() {",
        check: unit("catchment-gateway", "shard::tests::panics"),
        quick: false,
    },
    Safeguard {
        name: "supervision",
        without: "a worker's task that panics is not noticed",
        file: "gateway/src/worker.rs",
        find: "actix::spawn(self.supervisor.task(&name, move |why| journal.poison(why), body));",
        replace: "drop((name, journal));\n        actix::spawn(body);",
        check: Check { package: "catchment-tests", target: "--test=system", filter: "defects::a_worker" },
        quick: false,
    },
    Safeguard {
        name: "acknowledgement timeout",
        without: "an aggregator that acknowledges nothing is never left",
        file: "gateway/src/uplink/mod.rs",
        find: "shard = patience.over() =>",
        replace: "shard = patience.over(), if acks.is_empty() =>",
        check: Check {
            package: "catchment-tests",
            target: "--test=system",
            filter: "defects::an_aggregator",
        },
        quick: false,
    },
    Safeguard {
        name: "batch applied half-way",
        without: "the aggregator packs and acknowledges after a panic within a batch's application",
        file: "aggregator/src/store/inner.rs",
        find: "self.state.is_poisoned() || self.gate",
        replace: "self.gate",
        check: unit("catchment-aggregator", "store::embedded::tests::panics"),
        quick: false,
    },
    Safeguard {
        name: "replace by revision",
        without: "of two states of a partial the older one counts, in answers and in packs",
        file: "aggregator/src/store/row.rs",
        find: "b.revision().cmp(&a.revision())",
        replace: "a.revision().cmp(&b.revision())",
        check: unit("catchment-aggregator", "store::"),
        quick: false,
    },
    Safeguard {
        name: "batch numbers",
        without: "the aggregator appends a batch again whose number it has seen",
        file: "aggregator/src/store/gate.rs",
        find: "if number <= waiting.map_or(applied, |last| last.number) {",
        replace: "if number == 0 && number <= waiting.map_or(applied, |last| last.number) {",
        check: unit("catchment-aggregator", "store::"),
        quick: false,
    },
    Safeguard {
        name: "missing batches make a gap",
        without: "answers claim to be complete over batches that the store has lost",
        file: "aggregator/src/store/gaps.rs",
        find: "self.gaps.push(ShardGap { first, last, noticed, gap });",
        replace: "let _ = ShardGap { first, last, noticed, gap };",
        check: unit("catchment-aggregator", "store::gaps"),
        quick: false,
    },
    Safeguard {
        name: "answers exclude gaps",
        without: "answers claim to be complete over gaps that are known",
        file: "aggregator/src/query/merge.rs",
        find: "bounds.extend(touching.iter().map(|gap| gap.from));",
        replace: "",
        check: unit("catchment-aggregator", "query::merge"),
        quick: false,
    },
    Safeguard {
        name: "no watermark of the future",
        without: "a gateway whose clock is years ahead counts as complete for years",
        file: "aggregator/src/horizon.rs",
        find: "(ahead > self.tolerance_ms).then_some(ahead)",
        replace: "(ahead == i64::MAX).then_some(ahead)",
        check: unit("catchment-aggregator", "tests::completeness"),
        quick: false,
    },
    Safeguard {
        name: "journal released behind packs",
        without: "the aggregator releases its journal before the packs are written",
        file: "aggregator/src/store/packer.rs",
        find: "    Round::new(inner, meta).run(position, &shards)",
        replace: "    inner.log.release(position);\n    Round::new(inner, meta).run(position, &shards)",
        check: unit("catchment-aggregator", "store::"),
        quick: false,
    },
    Safeguard {
        name: "sync before the ack",
        without: "the journal takes a block for durable that was written and never synced",
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
        check: unit("catchment-journal", "tests::place"),
        quick: true,
    },
    Safeguard {
        name: "watch over the folder",
        without: "a gateway acknowledges into a folder that was moved or replaced",
        file: "gateway/src/folder.rs",
        find: "self.logs.iter().for_each(|log| log.poison(&why));",
        replace: "",
        check: unit("catchment-gateway", "folder::"),
        quick: false,
    },
    Safeguard {
        name: "packs' file in its place",
        without: "the aggregator releases its journal behind packs that were written into a removed file",
        file: "aggregator/src/store/sled_tree.rs",
        find: "self.look().map_err(|error| error.to_string())",
        replace: "Ok(())",
        check: unit("catchment-aggregator", "store::place"),
        quick: false,
    },
    Safeguard {
        name: "owner of a data folder",
        without: "readings that wait in a folder are delivered as those of any identity it is started with",
        file: "journal/src/data_dir.rs",
        find: "(Some(owner), Some(found)) if owner != found =>",
        replace: "(Some(owner), Some(found)) if owner != found && owner.is_empty() =>",
        check: unit("catchment-journal", "tests::owner"),
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
];

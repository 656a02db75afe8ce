use proptest::prelude::*;

use super::*;

fn own(runs: &[(u64, u64)]) -> Vec<OwnRun> {
    runs.iter().map(|(id, base)| OwnRun { id: *id, base: *base, sealed: *base }).collect()
}

fn seen(runs: &[(u64, u64)]) -> Vec<DeliveredRun> {
    runs.iter()
        .map(|(run, number)| DeliveredRun { run: *run, previous: Vec::new(), number: *number })
        .collect()
}

fn diverges(runs: &[(u64, u64)], complete: bool, next: u64, entries: &[(u64, u64)]) -> Option<Divergence> {
    let (runs, entries) = (own(runs), seen(entries));
    let delivered = entries.last().map_or(0, |entry| entry.number);
    find_divergence(&RunHistory { runs: &runs, complete, next }, delivered, Some(&entries))
}

fn diverged(cause: Cause, common: u64, run: usize) -> Option<Divergence> {
    Some(Divergence { cause, common, run })
}

#[test]
fn what_the_folder_made_is_no_proof() {
    let runs = [(1, 1), (2, 10), (3, 20)];
    assert_eq!(diverges(&runs, true, 25, &[]), None, "an aggregator that knows nothing");
    assert_eq!(diverges(&runs, true, 25, &[(1, 9), (2, 19), (3, 24)]), None);
    assert_eq!(diverges(&runs, true, 25, &[(1, 4)]), None, "an aggregator that was restored");
    assert_eq!(diverges(&runs, true, 20, &[(0, 19)]), None, "a run that did not say who it is");
    assert_eq!(diverges(&[(3, 20)], false, 20, &[(1, 9), (2, 19)]), None, "runs from before the history");
}

#[test]
fn a_number_beyond_what_a_run_can_have_delivered_is_proof() {
    let runs = [(1, 1), (2, 10), (3, 20)];
    assert_eq!(diverges(&runs, true, 20, &[(1, 10)]), diverged(Cause::WentBack, 9, 1));
    assert_eq!(diverges(&runs, true, 20, &[(1, 9), (2, 20)]), diverged(Cause::WentBack, 19, 2));
    assert_eq!(
        diverges(&runs, true, 20, &[(3, 20)]),
        diverged(Cause::WentBack, 19, 3),
        "it parted while it ran"
    );
    assert_eq!(diverges(&runs, true, 20, &[(0, 20)]), diverged(Cause::WentBack, 0, 0));
    assert_eq!(diverges(&runs, true, 20, &[(1, 5), (0, 20)]), diverged(Cause::WentBack, 5, 1));
}

#[test]
fn a_run_of_another_line_is_proof() {
    let runs = [(1, 1), (2, 10), (3, 20)];
    assert_eq!(diverges(&runs, true, 20, &[(1, 9), (7, 12)]), diverged(Cause::Doubled, 9, 1));
    assert_eq!(
        diverges(&runs, true, 20, &[(7, 12)]),
        diverged(Cause::Doubled, 0, 2),
        "the present run found out"
    );
    assert_eq!(diverges(&runs, false, 20, &[(2, 15), (7, 16)]), diverged(Cause::Doubled, 15, 2));
    assert_eq!(
        diverges(&[(3, 20)], false, 20, &[(7, 20)]),
        diverged(Cause::Doubled, 0, 0),
        "no older run made 20"
    );
    let (runs, mut entries) = (own(&runs), seen(&[(1, 9), (7, 22)]));
    entries[1].previous = vec![9, 2, 1];
    let history = RunHistory { runs: &runs, complete: true, next: 20 };
    assert_eq!(
        find_divergence(&history, 22, Some(&entries)),
        diverged(Cause::Doubled, 9, 2),
        "it says where it parted"
    );
}

#[test]
fn an_aggregator_without_runs_proves_by_its_number_alone() {
    let runs = own(&[(1, 1), (2, 10)]);
    let history = RunHistory { runs: &runs, complete: true, next: 12 };
    assert_eq!(find_divergence(&history, 11, None), None);
    assert_eq!(find_divergence(&history, 12, None), diverged(Cause::WentBack, 9, 1));
}

/// A copy of a folder: its runs, and what each of its batches holds.
#[derive(Clone, Debug, Default)]
struct Copy {
    runs: Vec<OwnRun>,
    batches: Vec<u64>,
    sent: usize,
}

impl Copy {
    fn next(&self) -> u64 {
        self.batches.len() as u64 + 1
    }
}

/// What an aggregator has.
#[derive(Clone, Debug, Default)]
struct Centre {
    batches: Vec<u64>,
    runs: Vec<DeliveredRun>,
}

/// Copies of one folder, their snapshots, and an aggregator, moved by small numbers.
#[derive(Debug, Default)]
struct Model {
    copies: Vec<Option<Copy>>,
    snapshots: Vec<Copy>,
    centre: Centre,
    older: Centre,
    fresh: u64,
    /// There was ever a second line.
    parted: bool,
}

impl Model {
    fn fresh(&mut self) -> u64 {
        self.fresh += 1;
        self.fresh
    }

    fn start(&mut self, at: usize) {
        let (id, seal) = (self.fresh(), self.fresh());
        let Some(copy) = &mut self.copies[at] else { return };
        let base = copy.next();
        // What a seal holds was there before, so it is the same on every line.
        copy.batches.extend((seal % 3 == 0).then_some(seal));
        copy.runs.push(OwnRun { id, base, sealed: copy.next() });
        copy.sent = 0;
    }

    fn step(&mut self, op: u8, at: usize) -> Result<(), TestCaseError> {
        let at = at % self.copies.len();
        match op {
            0 => self.start(at),
            1 | 2 => {
                let content = self.fresh();
                if let Some(copy) = &mut self.copies[at] {
                    copy.batches.push(content);
                }
            }
            3 => self.snapshots.extend(self.copies[at].clone()),
            4 if !self.snapshots.is_empty() => {
                let snapshot = self.snapshots[at % self.snapshots.len()].clone();
                self.copies[at] = Some(snapshot);
                self.parted = true;
                self.start(at);
            }
            5 if !self.snapshots.is_empty() => {
                self.copies.push(self.snapshots.last().cloned());
                self.parted = true;
                self.start(self.copies.len() - 1);
            }
            6 => self.older = self.centre.clone(),
            7 => self.centre = self.older.clone(),
            _ => self.deliver(at, usize::from(op) % 4)?,
        }
        Ok(())
    }

    fn deliver(&mut self, at: usize, most: usize) -> Result<(), TestCaseError> {
        let Some(copy) = &mut self.copies[at] else { return Ok(()) };
        let present = *copy.runs.last().unwrap();
        let next = present.base.max(copy.sent as u64 + 1);
        let history = RunHistory { runs: &copy.runs, complete: true, next };
        let delivered = self.centre.batches.len();
        if find_divergence(&history, delivered as u64, Some(&self.centre.runs)).is_some() {
            prop_assert!(self.parted, "false proof: {copy:?} {:?}", self.centre);
            self.copies[at] = None;
            return Ok(());
        }
        // It releases what is delivered: that must be its own.
        let common = delivered.min(copy.batches.len());
        prop_assert_eq!(&copy.batches[..common], &self.centre.batches[..common]);
        prop_assert!(delivered <= copy.batches.len());
        let to = copy.batches.len().min(delivered + most);
        if to == delivered {
            return Ok(());
        }
        self.centre.batches.extend(&copy.batches[delivered..to]);
        copy.sent = copy.sent.max(to);
        let previous = copy.runs.iter().rev().skip(1).map(|run| run.id).collect();
        let number = to as u64;
        match self.centre.runs.last_mut().filter(|last| last.run == present.id) {
            Some(last) => last.number = number,
            None => self.centre.runs.push(DeliveredRun { run: present.id, previous, number }),
        }
        let excess = self.centre.runs.len().saturating_sub(4);
        self.centre.runs.drain(..excess);
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    /// Copies go back, are doubled, and aggregators are restored: nothing is released that another line delivered, and a folder
    /// that is what it was is never accused.
    #[test]
    fn nothing_is_released_that_another_line_delivered(ops in prop::collection::vec((0_u8..16, 0_usize..4), 0..60)) {
        let mut model = Model { copies: vec![Some(Copy::default())], ..Model::default() };
        model.start(0);
        for (op, at) in ops {
            model.step(op, at)?;
        }
    }
}

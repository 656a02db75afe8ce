//! Arithmetic and comparisons between the series of two vectors.

use std::sync::Arc;

use hashbrown::HashMap;

use super::{
    columns::{Numbers, Passed, combined},
    incompatible, operands,
    operators::Numeric,
    sides::{self, Group, Side, is_named},
};
use crate::{
    error::{PromqlError, Span},
    evaluate::{Context, Held, pace::Pace, text, unique},
    grid::Grid,
    labels::{Labels, METRIC_NAME},
    plan::{Binary, BinaryOperator, Cardinality},
    steps::Steps,
    value::{Samples, Series, Value},
};

/// The results of all pairs, in the order of their labels.
pub(super) async fn value(
    context: &Context<'_>,
    of: &Binary,
    span: Span,
    grid: Grid,
) -> Result<Value, PromqlError> {
    let Some(operator) = Numeric::of(of.operator) else { return Err(not_of_sets()) };
    let (left, right, mut held, bytes) = operands(context, of, grid).await?;
    let was_ordered = unique::is_ordered(&left);
    let (left, right) = (Side::new(left), Side::new(right));
    let bytes = bytes + left.bytes() + right.bytes();
    held.set(bytes)?;
    let mut pace = Pace::new(context);
    let groups = sides::groups(&of.matching, &left, &right, &mut pace).await?;
    let swapped = matches!(of.matching.cardinality, Cardinality::OneToMany(_));
    let (many, one) = if swapped { (&right, &left) } else { (&left, &right) };
    // Where one vector is empty, nothing matches, and nothing is checked.
    let mut active = many.any(grid.count);
    if of.matching.fill.left.is_none() && of.matching.fill.right.is_none() {
        active.keep(&one.any(grid.count));
    } else {
        active.add(&one.any(grid.count));
    }
    let mut pairs = Pairs {
        context,
        of,
        span,
        operator,
        swapped,
        count: grid.count,
        many,
        one,
        active,
        results: Vec::new(),
        held,
        bytes,
        pace,
    };
    // As in Prometheus, duplicates are found before anything is matched.
    let mut sides = Vec::with_capacity(groups.len());
    for mut group in groups {
        if swapped {
            std::mem::swap(&mut group.left, &mut group.right);
        }
        let one_any = pairs.one_side(&group)?;
        pairs.bytes += one_any.bytes();
        pairs.held.set(pairs.bytes)?;
        pairs.pace.did((group.right.len() + 1) * one_any.words().len()).await?;
        sides.push((group, one_any));
    }
    for (group, one_any) in &sides {
        pairs.group(group, one_any).await?;
    }
    unique::unique(pairs.results, was_ordered || swapped).map(Value::Vector)
}

fn not_of_sets() -> PromqlError {
    PromqlError::execution("set operations must always be many-to-many")
}

/// The results so far. What is called many and one are the left and the right side, or with `group_right` the right and
/// the left side; without grouping, both are one.
struct Pairs<'f, 'c, 'a> {
    context: &'c Context<'a>,
    of: &'f Binary,
    span: Span,
    operator: Numeric,
    swapped: bool,
    count: usize,
    many: &'f Side,
    one: &'f Side,
    /// The steps that are evaluated at all.
    active: Steps,
    results: Vec<Series>,
    held: Held<'c, 'a>,
    bytes: usize,
    pace: Pace<'c, 'a>,
}

/// What stands on a side of a pair.
#[derive(Clone, Copy)]
enum Operand<'p> {
    Series(&'p Series),
    Fill(&'p Labels, f64),
}

impl Operand<'_> {
    fn labels(&self) -> &Labels {
        match self {
            Self::Series(series) => &series.labels,
            Self::Fill(labels, _) => labels,
        }
    }

    fn is_windows(&self) -> bool {
        matches!(self, Self::Series(Series { samples: Samples::Windows(_), .. }))
    }
}

/// Where the series of a group have matched so far.
struct Matched {
    any: Steps,
    /// With `group_left` or `group_right`: by the labels of the result.
    by_labels: HashMap<Labels, Steps>,
}

impl Pairs<'_, '_, '_> {
    /// Adds the results of the series with one signature, whose one side has something at those steps.
    async fn group(&mut self, group: &Group, one_any: &Steps) -> Result<(), PromqlError> {
        let mut matched = Matched { any: Steps::none(self.count), by_labels: HashMap::new() };
        let fill = self.of.matching.fill;
        for place in &group.left {
            let Some((series, steps)) = self.many.get(*place) else { continue };
            for place in &group.right {
                let Some((other, others)) = self.one.get(*place) else { continue };
                let both = steps.and(others);
                self.pace.did(both.words().len()).await?;
                if !both.is_empty() {
                    self.pair(Operand::Series(series), Operand::Series(other), both, &mut matched)?;
                    self.pace.did(self.count).await?;
                }
            }
            if let Some(fill) = fill.right {
                let mut alone = steps.clone();
                alone.remove(one_any);
                let filled = Operand::Fill(&group.signature, fill);
                self.pair(Operand::Series(series), filled, alone, &mut matched)?;
                self.pace.did(self.count).await?;
            }
        }
        let Some(fill) = fill.left else { return Ok(()) };
        for place in &group.right {
            let Some((series, steps)) = self.one.get(*place) else { continue };
            let mut alone = steps.clone();
            alone.remove(&matched.any);
            let filled = Operand::Fill(&group.signature, fill);
            self.pair(filled, Operand::Series(series), alone, &mut matched)?;
            self.pace.did(self.count).await?;
        }
        Ok(())
    }

    /// Where the one side has something: at most one series at each step that is evaluated.
    fn one_side(&self, group: &Group) -> Result<Steps, PromqlError> {
        let mut any = Steps::none(self.count);
        for (number, place) in group.right.iter().enumerate() {
            let Some((series, steps)) = self.one.get(*place) else { continue };
            let active = steps.and(&self.active);
            if !any.meets(&active) {
                any.add(&active);
                continue;
            }
            let earlier = group.right.iter().take(number).filter_map(|place| self.one.get(*place));
            let other = earlier.filter(|(_, steps)| steps.meets(&active)).map(|(series, _)| series).next();
            let other = other.map_or_else(String::new, |series| text::labels(&series.labels));
            let mut both = [text::labels(&series.labels), other];
            both.sort();
            return Err(PromqlError::execution(format!(
                "found duplicate series for the match group {} on the {} hand-side of the operation: [{}, {}];\
                 many-to-many matching not allowed: matching labels must be unique on one side",
                text::labels(&group.signature),
                if self.swapped { "left" } else { "right" },
                both.first().map_or("", String::as_str),
                both.last().map_or("", String::as_str),
            )));
        }
        Ok(any)
    }

    /// Adds the result of a pair at the steps where it matches.
    fn pair(
        &mut self,
        many: Operand<'_>,
        one: Operand<'_>,
        steps: Steps,
        matched: &mut Matched,
    ) -> Result<(), PromqlError> {
        if steps.is_empty() {
            return Ok(());
        }
        let (left, right) = if self.swapped { (one, many) } else { (many, one) };
        let both_windows = left.is_windows() && right.is_windows();
        if (left.is_windows() || right.is_windows())
            && !(both_windows && self.of.operator == BinaryOperator::Add)
        {
            incompatible(self.context, self.of, self.span, left.is_windows(), right.is_windows());
            return Ok(());
        }
        let labels = self.result_labels(many.labels(), one.labels());
        self.check_matches(&labels, &steps, matched)?;
        // The result, and where its labels have matched.
        self.bytes += 2 * labels.bytes() + size_of::<Series>() + self.count * 10;
        self.held.set(self.bytes)?;
        let samples =
            if both_windows { merged(left, right, &steps) } else { self.numbers(left, right, steps) };
        if both_windows {
            self.bytes += Series { labels: Labels::default(), samples: samples.clone() }.bytes();
            self.held.set(self.bytes)?;
        }
        if !samples.is_absent() {
            self.results.push(Series { labels, samples });
        }
        Ok(())
    }

    /// Several series of the many side may match at one step only if that was asked for and their results differ.
    fn check_matches(
        &self,
        labels: &Labels,
        steps: &Steps,
        matched: &mut Matched,
    ) -> Result<(), PromqlError> {
        if self.of.matching.cardinality == Cardinality::OneToOne {
            if matched.any.meets(steps) {
                return Err(PromqlError::execution(
                    "multiple matches for labels: many-to-one matching must be explicit (group_left/group_right)",
                ));
            }
        } else {
            let known = matched.by_labels.entry(labels.clone()).or_insert_with(|| Steps::none(self.count));
            if known.meets(steps) {
                return Err(PromqlError::execution(
                    "multiple matches for labels: grouping labels must ensure unique matches",
                ));
            }
            known.add(steps);
        }
        matched.any.add(steps);
        Ok(())
    }

    /// The labels of the many side: those in which they match if both sides are one; with the labels that the one side
    /// gives.
    fn result_labels(&self, many: &Labels, one: &Labels) -> Labels {
        let matching = &self.of.matching;
        let drops_name = self.operator.drops_name(self.of.returns_bool);
        let is_one_to_one = matching.cardinality == Cardinality::OneToOne;
        let labels = many.filtered(|name| {
            !(drops_name && name == METRIC_NAME)
                && (!is_one_to_one || is_named(matching, name) == matching.on)
        });
        match &matching.cardinality {
            Cardinality::ManyToOne(included) | Cardinality::OneToMany(included) => {
                included.iter().fold(labels, |labels, name| labels.with(name, one.get(name)))
            }
            Cardinality::OneToOne | Cardinality::ManyToMany => labels,
        }
    }

    fn numbers(&self, left: Operand<'_>, right: Operand<'_>, steps: Steps) -> Samples {
        let (left, right) = (numbers(&left), numbers(&right));
        let column =
            combined(self.operator, self.of.returns_bool, left, right, steps, Passed::Left, self.count);
        Samples::Floats(column)
    }
}

fn numbers<'p>(operand: &Operand<'p>) -> Numbers<'p> {
    match operand {
        Operand::Series(Series { samples: Samples::Floats(column), .. }) => Numbers::Each(column.values()),
        Operand::Series(_) => Numbers::Same(f64::NAN),
        Operand::Fill(_, value) => Numbers::Same(*value),
    }
}

/// The windows of both, merged.
fn merged(left: Operand<'_>, right: Operand<'_>, steps: &Steps) -> Samples {
    let windows = |operand: Operand<'_>, step: usize| match operand {
        Operand::Series(Series { samples: Samples::Windows(windows), .. }) => {
            windows.get(step).cloned().flatten()
        }
        _ => None,
    };
    let count = match left {
        Operand::Series(Series { samples: Samples::Windows(windows), .. }) => windows.len(),
        _ => 0,
    };
    let both = (0..count).map(|step| {
        if !steps.contains(step) {
            return None;
        }
        let mut sum = windows(left, step)?;
        Arc::make_mut(&mut sum).merge_across_series(&*windows(right, step)?);
        Some(sum)
    });
    Samples::Windows(both.collect())
}

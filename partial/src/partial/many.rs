//! The summary of more than [`EXACT_MAX`] values: extent, exact sums, a quantile sketch, and the optional parts.

use super::distinct::Distinct;
use super::extent::{Extent, Point};
use super::moments::Squares;
use super::parts::Parts;
use super::powers::Powers;
use super::run;
use super::sequence::{MergeBounds, Sequence};
use super::sketch::Sketch;
use super::sum::Sum;
use super::value_span::ValueSpan;

/// The numbers in order of time.
type Order = Sequence<ValueSpan>;

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Many {
    pub(super) extent: Extent,
    /// Equal to the sketch's count.
    pub(super) count: u64,
    pub(super) sum: Sum,
    pub(super) squares: Squares,
    pub(super) sketch: Sketch,
    /// Most metrics ask for none.
    pub(super) optional: Option<Box<OptionalParts>>,
}

/// The optional parts of the values; each `None` if it was not asked for, or is not known.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct OptionalParts {
    pub(super) powers: Option<Powers>,
    pub(super) order: Option<Sequence<ValueSpan>>,
    pub(super) distinct: Option<Distinct>,
}

impl OptionalParts {
    fn new(parts: Parts) -> Self {
        Self {
            powers: parts.contains(Parts::MOMENTS).then(Powers::default),
            order: parts.contains(Parts::ORDER).then(Sequence::default),
            distinct: parts.contains(Parts::DISTINCT).then(Distinct::default),
        }
    }

    /// Whether the order is there, and nothing else.
    fn is_only_order(&self) -> bool {
        self.order.is_some() && self.powers.is_none() && self.distinct.is_none()
    }

    /// Boxed, unless there are none.
    pub(super) fn boxed(self) -> Option<Box<Self>> {
        let any = self.powers.is_some() || self.order.is_some() || self.distinct.is_some();
        any.then(|| Box::new(self))
    }

    /// Without those that are not asked for.
    pub(super) fn only(self, parts: Parts) -> Self {
        Self {
            powers: self.powers.filter(|_| parts.contains(Parts::MOMENTS)),
            order: self.order.filter(|_| parts.contains(Parts::ORDER)),
            distinct: self.distinct.filter(|_| parts.contains(Parts::DISTINCT)),
        }
    }

    /// Adds a value to the parts that do not depend on its time.
    fn push_value(&mut self, value: f64) {
        if let Some(powers) = &mut self.powers {
            powers.push(value);
        }
        if let Some(distinct) = &mut self.distinct {
            distinct.push(value);
        }
    }

    /// Adds few readings; `points`: with their times, if they are known.
    fn push_few(&mut self, points: Option<&[Point]>) {
        self.order = self.order.take().zip(points).and_then(|(mut order, points)| {
            let readings = points.iter().map(|point| (point.time, point.value)).collect();
            let few = Sequence { readings, spans: Vec::new() };
            order.merge(&few, MergeBounds::PARTIAL).then_some(order)
        });
    }

    /// What both sides know; `follow` takes their orders together, if it can.
    fn merged(mut self, other: &Self, follow: impl FnOnce(&mut Order, &Order) -> bool) -> Self {
        let powers = self.powers.take().zip(other.powers.as_ref()).map(|(mut powers, other)| {
            powers.merge(other);
            powers
        });
        let distinct = self.distinct.take().zip(other.distinct.as_ref()).map(|(mut distinct, other)| {
            distinct.merge(other);
            distinct
        });
        let order = self.order.take().zip(other.order.as_ref());
        let order = order.and_then(|(mut order, other)| follow(&mut order, other).then_some(order));
        Self { powers, order, distinct }
    }

    fn heap(&self) -> usize {
        let order = self.order.as_ref().map_or(0, |order| {
            order.readings.capacity() * size_of::<Point>() + order.spans.capacity() * size_of::<ValueSpan>()
        });
        size_of::<Self>()
            + order
            + self.powers.as_ref().map_or(0, Powers::heap)
            + self.distinct.as_ref().map_or(0, Distinct::heap)
    }
}

impl Many {
    /// No values yet, though their extent.
    pub(super) fn new(extent: Extent, parts: Parts) -> Self {
        Self {
            extent,
            count: 0,
            sum: Sum::default(),
            squares: Squares::default(),
            sketch: Sketch::default(),
            optional: OptionalParts::new(parts).boxed(),
        }
    }

    /// Adds a reading.
    #[inline]
    pub(super) fn push(&mut self, point: Point) {
        self.extent.push(point);
        self.push_value(point.value);
        self.push_optional(point);
    }

    /// Adds a value to the parts that every partial has, except the extent.
    #[inline]
    pub(super) fn push_value(&mut self, value: f64) {
        self.count = self.count.saturating_add(1);
        self.sum.push(value);
        self.squares.push(value);
        self.sketch.push(value);
    }

    /// Adds a reading to the optional parts.
    pub(super) fn push_optional(&mut self, point: Point) {
        if let Some(optional) = &mut self.optional {
            optional.push_value(point.value);
            if optional.order.take_if(|order| !order.push(point.time, point.value)).is_some() {
                self.optional = self.optional.take().and_then(|optional| optional.boxed());
            }
        }
    }

    /// Whether nothing but the order would have to be added besides extent, sums and sketch.
    pub(super) fn has_order_at_most(&self) -> bool {
        self.optional.as_ref().is_none_or(|optional| optional.powers.is_none() && optional.distinct.is_none())
    }

    /// Adds readings that are in order to the order, if it is known.
    pub(super) fn push_order(&mut self, points: &[Point]) {
        let Some(optional) = &mut self.optional else { return };
        let readings = points.iter().map(|point| (point.time, point.value));
        if optional.order.take_if(|order| !order.push_ordered(readings)).is_some() {
            self.optional = self.optional.take().and_then(|optional| optional.boxed());
        }
    }

    /// Adds few values whose extent is counted already; `points`: with their times, if they are known.
    pub(super) fn push_few(&mut self, values: impl Iterator<Item = f64>, points: Option<&[Point]>) {
        let mut optional = self.optional.take();
        let values = values.inspect(|value| {
            if let Some(optional) = &mut optional {
                optional.push_value(*value);
            }
        });
        run::add_values(self, values);
        self.optional = optional;
        if let Some(mut optional) = self.optional.take() {
            optional.push_few(points);
            self.optional = optional.boxed();
        }
    }

    /// Adds what another one holds. An optional part that either lacks is not known afterwards.
    pub(super) fn merge(&mut self, other: &Self) {
        self.merge_ordered(other, |order, other| order.merge(other, MergeBounds::PARTIAL));
    }

    /// As [`Many::merge`], of readings that are later: see [`Partial::append`](super::Partial::append).
    pub(super) fn append(&mut self, later: &Self) {
        self.merge_ordered(later, Sequence::append);
    }

    fn merge_ordered(&mut self, other: &Self, follow: impl FnOnce(&mut Order, &Order) -> bool) {
        self.extent.merge(&other.extent);
        self.count = self.count.saturating_add(other.count);
        self.sum.merge(&other.sum);
        self.squares.merge(&other.squares);
        self.sketch.merge(&other.sketch);
        if let (Some(own), Some(other)) = (&mut self.optional, &other.optional)
            && own.is_only_order()
            && other.is_only_order()
            && let (Some(order), Some(other)) = (&mut own.order, &other.order)
        {
            if !follow(order, other) {
                self.optional = None;
            }
            return;
        }
        let both = self.optional.take().zip(other.optional.as_ref());
        self.optional = both.and_then(|(optional, other)| optional.merged(other, follow).boxed());
    }

    /// Makes it the summary of no values, with the extent of a first one, and keeps memory.
    pub(super) fn reset(&mut self, first: Point, parts: Parts) {
        self.extent = Extent::of(first);
        self.count = 0;
        self.sum.clear();
        self.squares.0.clear();
        self.sketch.clear();
        let only_order = !parts.contains(Parts::MOMENTS) && !parts.contains(Parts::DISTINCT);
        match &mut self.optional {
            Some(optional) if only_order && optional.is_only_order() && parts.contains(Parts::ORDER) => {
                optional.order.iter_mut().for_each(Sequence::clear);
            }
            optional => *optional = OptionalParts::new(parts).boxed(),
        }
    }

    /// Makes it equal to another one, and keeps memory.
    pub(super) fn copy_from(&mut self, other: &Self) {
        self.extent = other.extent;
        self.count = other.count;
        self.sum.copy_from(&other.sum);
        self.squares.0.copy_from(&other.squares.0);
        self.sketch.copy_from(&other.sketch);
        match (&mut self.optional, &other.optional) {
            (Some(own), Some(other)) if own.is_only_order() && other.is_only_order() => {
                if let (Some(own), Some(other)) = (&mut own.order, &other.order) {
                    own.readings.clone_from(&other.readings);
                    own.spans.clone_from(&other.spans);
                }
            }
            (own, other) => own.clone_from(other),
        }
    }

    /// Keeps only these optional parts, and not the order.
    pub(super) fn keep_unordered(&mut self, parts: Parts) {
        if let Some(optional) = self.optional.take() {
            self.optional = OptionalParts { order: None, ..optional.only(parts) }.boxed();
        }
    }

    /// The optional parts that it carries.
    pub(super) fn parts(&self) -> Parts {
        let Some(optional) = &self.optional else { return Parts::NONE };
        let part = |carried: bool, part: Parts| if carried { part } else { Parts::NONE };
        part(optional.powers.is_some(), Parts::MOMENTS)
            .with(part(optional.order.is_some(), Parts::ORDER))
            .with(part(optional.distinct.is_some(), Parts::DISTINCT))
    }

    /// Bytes on the heap.
    pub(super) fn heap(&self) -> usize {
        let optional = self.optional.as_ref().map_or(0, |optional| optional.heap());
        self.sum.heap() + self.squares.heap() + self.sketch.heap() + optional
    }
}

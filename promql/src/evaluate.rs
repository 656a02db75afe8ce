//! Walks over a plan.
//!
//! Aggregations, which merge series, take them batch by batch with [`Context::each_batch`], so that a vector of many
//! series need not be in memory at once; others take whole vectors with [`Context::value`].

mod aggregate;
mod binary;
mod call;
mod histogram;
mod over;
mod pace;
mod quantile;
mod ranges;
mod selector;
mod sliding;
mod subquery;
#[cfg(test)]
mod testing;
mod text;
mod unique;

use std::sync::{
    Mutex, PoisonError,
    atomic::{AtomicUsize, Ordering},
};

use futures_util::future::BoxFuture;

use crate::{
    annotations::Annotations,
    error::{PromqlError, Span},
    grid::Grid,
    plan::{Kind, Node, Operation, Plan},
    source::Source,
    value::{Column, Samples, Series, Value},
};

/// Bytes of a step of a series: a number or a shared window, and a bit.
const STEP_BYTES: usize = 9;
/// Most series that are visited at once, and most values of them if they are several.
const BATCH: usize = 64;
const BATCH_VALUES: usize = 16_384;

/// The answer to an expression.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// Its value on the plan's grid.
    pub value: Value,
    /// What is to be said with it.
    pub annotations: Annotations,
}

/// Evaluates a plan.
///
/// # Errors
/// [`PromqlError::Execution`] and [`PromqlError::Source`].
pub async fn evaluate(plan: &Plan, source: &dyn Source) -> Result<Answer, PromqlError> {
    let context = Context { source, plan, annotations: Mutex::default(), held: AtomicUsize::new(0) };
    let value = context.value(&plan.root, plan.grid).await?;
    let annotations = context.annotations.into_inner().unwrap_or_else(PoisonError::into_inner);
    Ok(Answer { value, annotations })
}

/// Takes batches of series.
pub(crate) type Visit<'a> = dyn FnMut(Vec<Series>) -> Result<(), PromqlError> + Send + 'a;

/// What the evaluation of all nodes shares.
pub(crate) struct Context<'a> {
    pub(crate) source: &'a dyn Source,
    pub(crate) plan: &'a Plan,
    annotations: Mutex<Annotations>,
    /// Bytes held by all [`Held`].
    held: AtomicUsize,
}

/// Memory in use; given back on drop.
pub(crate) struct Held<'c, 'a> {
    context: &'c Context<'a>,
    bytes: usize,
}

impl Held<'_, '_> {
    /// Sets how much is in use.
    ///
    /// # Errors
    /// The query may not have that much.
    pub(crate) fn set(&mut self, bytes: usize) -> Result<(), PromqlError> {
        let held = &self.context.held;
        let before = std::mem::replace(&mut self.bytes, bytes);
        let total = if bytes >= before {
            held.fetch_add(bytes - before, Ordering::Relaxed) + (bytes - before)
        } else {
            held.fetch_sub(before - bytes, Ordering::Relaxed) - (before - bytes)
        };
        self.context.source.set_memory(total)
    }
}

impl Drop for Held<'_, '_> {
    fn drop(&mut self) {
        self.context.held.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

impl<'a> Context<'a> {
    /// The value of a node on a grid.
    pub(crate) fn value<'c>(
        &'c self,
        node: &'c Node,
        grid: Grid,
    ) -> BoxFuture<'c, Result<Value, PromqlError>> {
        Box::pin(async move {
            self.source.yield_point().await?;
            if node.invariant && grid.count > 1 {
                let once = self.operation(node, Grid::instant(grid.start_ms)).await?;
                let mut held = self.hold();
                if let Value::Vector(series) = &once {
                    let labels: usize = series.iter().map(Series::bytes).sum();
                    held.set(labels + series.len() * grid.count * STEP_BYTES)?;
                }
                return Ok(repeated(once, grid.count));
            }
            self.operation(node, grid).await
        })
    }

    async fn operation(&self, node: &Node, grid: Grid) -> Result<Value, PromqlError> {
        match &node.operation {
            Operation::Number(number) => Ok(Value::Scalar(vec![*number; grid.count])),
            Operation::Text(text) => Ok(Value::Text(text.clone())),
            Operation::Selector(of) => selector::value(self, of, node.span, grid).await,
            Operation::Negate(of) => call::negate(self, of, grid).await,
            Operation::Binary(of) => binary::value(self, of, node.span, grid).await,
            Operation::Aggregate(of) => aggregate::value(self, of, node.span, grid).await,
            Operation::Over(of) => over::value(self, of, node.span, grid).await,
            Operation::Call(function, arguments) => {
                call::value(self, *function, arguments, node.span, grid).await
            }
        }
    }

    /// Visits the series of a vector in the order of their labels, or in that of `sort` and `topk` below; batch by batch
    /// where the node can be evaluated so.
    pub(crate) async fn each_batch(
        &self,
        node: &Node,
        grid: Grid,
        visit: &mut Visit<'_>,
    ) -> Result<(), PromqlError> {
        match &node.operation {
            Operation::Selector(of) if !node.invariant => {
                selector::each_batch(self, of, node.span, grid, visit).await
            }
            Operation::Over(of) if !node.invariant => {
                over::each_batch(self, of, node.span, grid, visit).await
            }
            _ => {
                let batch = (BATCH_VALUES / grid.count.max(1)).clamp(1, BATCH);
                self.each_of_all(self.vector(node, grid).await?, batch, visit).await
            }
        }
    }

    /// Visits series that are in memory, some at a time, so that others can work in between.
    async fn each_of_all(
        &self,
        series: Vec<Series>,
        batch: usize,
        visit: &mut Visit<'_>,
    ) -> Result<(), PromqlError> {
        let mut held = self.hold();
        held.set(series.iter().map(Series::bytes).sum())?;
        let mut series = series.into_iter();
        loop {
            let some: Vec<Series> = series.by_ref().take(batch).collect();
            if some.is_empty() {
                return Ok(());
            }
            self.hand_over(some, visit).await?;
            self.source.yield_point().await?;
        }
    }

    /// Hands over a batch: windows one series at a time, since to merge them takes long.
    pub(crate) async fn hand_over(
        &self,
        batch: Vec<Series>,
        visit: &mut Visit<'_>,
    ) -> Result<(), PromqlError> {
        if batch.iter().all(|series| matches!(series.samples, Samples::Floats(_))) {
            return if batch.is_empty() { Ok(()) } else { visit(batch) };
        }
        for series in batch {
            visit(vec![series])?;
            self.source.yield_point().await?;
        }
        Ok(())
    }

    /// The series of a node that is a vector.
    pub(crate) async fn vector(&self, node: &Node, grid: Grid) -> Result<Vec<Series>, PromqlError> {
        debug_assert_eq!(node.kind, Kind::Vector, "checked by the plan");
        match self.value(node, grid).await? {
            Value::Vector(series) => Ok(series),
            Value::Scalar(_) | Value::Text(_) => Ok(Vec::new()),
        }
    }

    /// The numbers of a node that is a scalar, one for each step.
    pub(crate) async fn scalar(&self, node: &Node, grid: Grid) -> Result<Vec<f64>, PromqlError> {
        debug_assert_eq!(node.kind, Kind::Scalar, "checked by the plan");
        match self.value(node, grid).await? {
            Value::Scalar(numbers) => Ok(numbers),
            Value::Vector(_) | Value::Text(_) => Ok(vec![f64::NAN; grid.count]),
        }
    }

    /// Memory, none yet.
    pub(crate) fn hold(&self) -> Held<'_, 'a> {
        Held { context: self, bytes: 0 }
    }

    /// Warns, with the place in the text, as `PromQL warning: TEXT (line:column)`.
    pub(crate) fn warn(&self, text: &str, span: Span) {
        self.annotations.lock().unwrap_or_else(PoisonError::into_inner).warn(self.placed(
            "PromQL warning",
            text,
            span,
        ));
    }

    /// Informs, with the place in the text, as `PromQL info: TEXT (line:column)`.
    pub(crate) fn inform(&self, text: &str, span: Span) {
        self.annotations.lock().unwrap_or_else(PoisonError::into_inner).inform(self.placed(
            "PromQL info",
            text,
            span,
        ));
    }

    fn placed(&self, kind: &str, text: &str, span: Span) -> String {
        let (line, column) = span.position(&self.plan.text);
        format!("{kind}: {text} ({line}:{column})")
    }
}

/// The value of one step at each of several. Series of several steps are always in the order of their labels.
fn repeated(once: Value, steps: usize) -> Value {
    match once {
        Value::Scalar(numbers) => Value::Scalar(vec![numbers.first().copied().unwrap_or(f64::NAN); steps]),
        Value::Text(text) => Value::Text(text),
        Value::Vector(mut series) => {
            series.sort_by(|a, b| a.labels.cmp(&b.labels));
            Value::Vector(series.into_iter().map(|of| repeated_series(of, steps)).collect())
        }
    }
}

/// A series of one step at each of several.
fn repeated_series(series: Series, steps: usize) -> Series {
    let samples = match series.samples {
        Samples::Floats(column) => Samples::Floats(match column.get(0) {
            Some(value) => Column::full(vec![value; steps]),
            None => Column::absent(steps),
        }),
        Samples::Windows(windows) => Samples::Windows(vec![windows.into_iter().next().flatten(); steps]),
    };
    Series { samples, ..series }
}

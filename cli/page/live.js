// A chart that the server pushes: first all of it, then what changes.

const SERIES_MAX = 20;

function drop(series, gone) {
  const kept = series.start_ms.map((_, index) => index).filter((index) => !gone(series.start_ms[index]));
  if (kept.length === series.start_ms.length) return;
  series.start_ms = kept.map((index) => series.start_ms[index]);
  series.columns = series.columns.map((column) => kept.map((index) => column[index]));
}

// The first place whose start is not below one.
function place(starts, wanted) {
  let low = 0;
  // Most points are new.
  let high = starts.length;
  if (!high || starts[high - 1] < wanted) return high;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (starts[middle] < wanted) low = middle + 1;
    else high = middle;
  }
  return low;
}

function put(into, { start_ms: starts, columns }) {
  starts.forEach((start, index) => {
    const at = place(into.start_ms, start);
    const known = into.start_ms[at] === start;
    if (!known) into.start_ms.splice(at, 0, start);
    into.columns.forEach((column, number) => column.splice(at, known ? 1 : 0, columns[number][index]));
  });
}

// Changes a chart by a round. What is beyond its bounds is left out: the server ends a live chart of more series.
export function merge(chart, { all, resets, series, complete_until_ms: complete }) {
  const again = (start) => all || resets.some(([from, to]) => start >= from && start < to);
  if (all || resets.length) chart.series.forEach((one) => drop(one, again));
  const known = new Map(chart.series.map((one) => [JSON.stringify(one.labels), one]));
  for (const one of series) {
    const name = JSON.stringify(one.labels);
    if (known.has(name)) put(known.get(name), one);
    else if (chart.series.length < SERIES_MAX) {
      chart.series.push(one);
      known.set(name, one);
    }
  }
  chart.series = chart.series.filter((one) => one.start_ms.length);
  chart.complete_until_ms = complete;
  // How many gateways are behind was known at the beginning.
  chart.behind = 0;
  if (chart.series.length) chart.nothing = null;
}

// Moves a chart's range so that it ends now; `fixed`: its beginning stays.
export function move(chart, now, fixed) {
  const by = now - chart.to_ms;
  if (by <= 0) return;
  chart.to_ms = now;
  if (fixed) return;
  chart.from_exact_ms = (chart.from_exact_ms ?? chart.from_ms) + by;
  // The first point is whole.
  chart.from_ms = Math.max(chart.from_ms, Math.floor(chart.from_exact_ms / chart.step_ms) * chart.step_ms);
  chart.series.forEach((one) => drop(one, (start) => start + chart.step_ms <= chart.from_exact_ms));
  chart.series = chart.series.filter((one) => one.start_ms.length);
  chart.gaps = chart.gaps.filter((gap) => gap.to_ms > chart.from_ms);
}

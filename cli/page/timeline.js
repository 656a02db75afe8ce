// States over time: one row for each series, the prevailing state of each point as its colour.

import { el, svg } from "./dom.js";
import { shown, time } from "./format.js";
import { COLOURS, frame } from "./chart.js";

const ROW = 26;

// The columns that hold states.
export function stateColumns(answer) {
  const isState = (value) => typeof value === "string" || Array.isArray(value);
  return [...answer.aggregates.keys()].filter((column) => answer.series.some((series) => series.columns[column].some(isState)));
}

function prevailing(value) {
  if (typeof value === "string") return value;
  if (!Array.isArray(value) || !value.length) return null;
  return value.reduce((most, one) => (one[1] > most[1] ? one : most))[0];
}

// The state of a point by the first column that has one: a single reading takes no time, so it has no share, but a last state.
function stateAt(series, columns, index) {
  for (const column of columns) {
    const state = prevailing(series.columns[column][index]);
    if (state !== null) return state;
  }
  return null;
}

// Points that follow one another with the same prevailing state, as one.
function spans(series, step, columns) {
  const list = [];
  series.start_ms.forEach((from, index) => {
    const state = stateAt(series, columns, index);
    const last = list.at(-1);
    if (state === null) return;
    if (last && last.state === state && from - last.to < step / 2) last.to = from + step;
    else list.push({ state, from, to: from + step });
  });
  return list;
}

export function timeline(answer, size, columns) {
  const height = answer.series.length * ROW + 36;
  const at = frame(answer, { ...size, height }, [0, 1]);
  const all = answer.series.flatMap((series) => series.start_ms.map((_, index) => stateAt(series, columns, index)));
  const states = [...new Set(all.filter((state) => state !== null))].sort();
  const inside = svg("g", { "clip-path": "url(#inside)" });
  answer.series.forEach((series, row) => {
    for (const { state, from, to } of spans(series, answer.step_ms, columns)) {
      const left = at.x(from);
      inside.append(svg("rect", {
        class: `state s${states.indexOf(state) % COLOURS}`,
        x: left.toFixed(1),
        y: at.top + row * ROW + 2,
        width: Math.max(1, at.x(to) - left).toFixed(1),
        height: ROW - 4,
      }, svg("title", null, `${shown(state)}, ${time(from, size.zone)} to ${time(to, size.zone)}`)));
    }
    at.node.append(svg("text", { class: "axis end", x: at.left - 6, y: at.top + row * ROW + ROW / 2 + 4 }, `#${row + 1}`));
  });
  at.node.append(inside);
  at.legend = el("ul", { class: "states" }, states.map((state, index) =>
    el("li", null, swatch(index), shown(state))));
  return at;
}

// A patch of a series' colour.
export function swatch(index) {
  return svg("svg", { class: "swatch", width: 12, height: 12, "aria-hidden": "true" },
    svg("rect", { class: `state s${index % COLOURS}`, width: 12, height: 12 }));
}

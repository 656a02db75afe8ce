// The values of all series at one time: the legend of a chart.

import { el } from "./dom.js";
import { labels, number, time } from "./format.js";
import { nearest } from "./scale.js";
import { swatch } from "./timeline.js";

// The labels of a series behind its mark; long ones are cut on the screen alone.
export function seriesName(mark, of) {
  const text = labels(of);
  return el("div", { class: "name" }, mark, el("span", { class: "clamp", title: text }, text));
}

// Each series with its values at a time, or its last ones.
export function valuesAt(answer, at) {
  return answer.series.map((series) => {
    const point = at === null ? series.start_ms.length - 1 : nearest(series.start_ms, at);
    const start = series.start_ms[point];
    const there = at === null || Math.abs(start - at) < answer.step_ms;
    return { series, start, values: series.columns.map((column) => (there ? column[point] : null)) };
  });
}

// A table of these; `numbered` names the rows of a timeline, whose colours are those of states.
export function readout(answer, rows, { at, chosen, zone, numbered }) {
  const when = time(at ?? Math.max(...rows.map((row) => row.start)), zone);
  const head = ["Series", ...answer.aggregates].map((title, index) =>
    el("th", { scope: "col", class: index > 0 && "number" }, title));
  const body = rows.map(({ series, values }, index) =>
    el("tr", { class: at !== null && index === chosen && "chosen" },
      el("th", { scope: "row" }, seriesName(numbered ? `#${index + 1}` : swatch(index), series.labels)),
      values.map((value) => el("td", { class: "number" }, number(value)))));
  return [
    el("p", null, at === null ? `Last values, from ${when}` : `At ${when}`),
    el("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Values at the crosshair" },
      el("table", null, el("thead", null, el("tr", null, head)), el("tbody", null, body))),
  ];
}

// One series in words.
export function spoken(answer, { series, start, values }, zone) {
  const words = values.map((value, index) => `${answer.aggregates[index]} ${number(value)}`).join(", ");
  return `${time(start, zone)}, ${labels(series.labels)}: ${words}`;
}

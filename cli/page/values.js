// The values of a chart as a table and as CSV: the same ones that are drawn.

import { el } from "./dom.js";
import { exact, labels, time } from "./format.js";

const ROWS = 200;

function rows(answer) {
  return answer.series.flatMap((series) => series.start_ms.map((start, index) => ({ series, start, index })));
}

// A table of some rows, and buttons to turn to the others.
export function valueTable(answer, zone) {
  const all = rows(answer);
  const body = el("tbody");
  const said = el("span");
  let offset = 0;
  const turn = (by) => () => {
    offset = Math.min(Math.max(0, offset + by), Math.max(0, all.length - 1));
    offset -= offset % ROWS;
    const part = all.slice(offset, offset + ROWS);
    body.replaceChildren(...part.map(({ series, start, index }) => el("tr", null,
      el("td", null, time(start, zone)), el("td", null, labels(series.labels)),
      series.columns.map((column) => el("td", { class: "number" }, exact(column[index]))))));
    said.textContent = `${all.length ? offset + 1 : 0}–${offset + part.length} of ${all.length}`;
  };
  turn(0)();
  const titles = ["Time", "Series", ...answer.aggregates];
  const head = titles.map((title, index) => el("th", { scope: "col", class: index > 1 && "number" }, title));
  return el("div", null,
    el("div", { class: "bar" },
      el("button", { type: "button", click: turn(-ROWS) }, "Previous"), said,
      el("button", { type: "button", click: turn(ROWS) }, "Next")),
    el("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Values" }, el("table", null,
      el("thead", null, el("tr", null, head)), body)));
}

function quoted(text) {
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

// RFC 4180, as `catchment query --format csv` writes it: the start of each point, its labels, its values.
export function csv(answer) {
  const names = [...new Set(answer.series.flatMap((series) => Object.keys(series.labels)))];
  const lines = [["time", ...names, ...answer.aggregates]];
  for (const { series, start, index } of rows(answer)) {
    const values = series.columns.map((column) => exact(column[index]));
    lines.push([new Date(start).toISOString(), ...names.map((name) => series.labels[name] ?? ""), ...values]);
  }
  return lines.map((line) => `${line.map(quoted).join(",")}\r\n`).join("");
}

export function save(name, text) {
  const url = URL.createObjectURL(new Blob([text], { type: "text/csv" }));
  el("a", { href: url, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(url), 10000);
}

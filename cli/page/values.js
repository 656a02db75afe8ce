// The values of a chart as a table and as CSV: the same ones that are drawn.

import { el, update } from "./dom.js";
import { exact, shown, time } from "./format.js";
import { seriesName } from "./readout.js";

const ROWS = 200;
// A spreadsheet takes a text that begins so for a formula, unless it is a number.
const FORMULA = /^\s*[=+\-@＝＋－＠]/;

function rows(answer) {
  return answer.series.flatMap((series) => series.start_ms.map((start, index) => ({ series, start, index })));
}

// A table of some rows, and buttons to turn to the others. It stays at its rows while a chart is live.
export class ValueTable {
  constructor() {
    this.offset = 0;
    this.node = el("div");
  }

  show(answer, zone) {
    this.answer = answer;
    this.zone = zone;
    const all = rows(answer);
    this.offset = Math.min(Math.max(0, this.offset), Math.max(0, all.length - 1));
    this.offset -= this.offset % ROWS;
    const part = all.slice(this.offset, this.offset + ROWS);
    const titles = ["Time", "Series", ...answer.aggregates];
    const head = titles.map((title, index) => el("th", { scope: "col", class: index > 1 && "number" }, title));
    const body = part.map(({ series, start, index }) => el("tr", null,
      el("td", null, time(start, zone)), el("td", null, seriesName(null, series.labels)),
      series.columns.map((column) => el("td", { class: "number" }, exact(column[index])))));
    const turn = (text, by) => el("button", { type: "button", click: () => this.turn(by) }, text);
    const where = `${all.length ? this.offset + 1 : 0}–${this.offset + part.length} of ${all.length}`;
    update(this.node,
      el("div", { class: "bar" }, turn("Previous", -ROWS), el("span", null, where), turn("Next", ROWS)),
      el("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Values" }, el("table", null,
        el("thead", null, el("tr", null, head)), el("tbody", null, body))));
  }

  turn(by) {
    this.offset += by;
    this.show(this.answer, this.zone);
  }
}

function quoted(text) {
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

// A text that a device chose: with an apostrophe before what would be a formula.
function harmless(text) {
  const isNumber = text.trim() === text && Number.isFinite(Number(text));
  return FORMULA.test(text) && !isNumber ? `'${shown(text)}` : shown(text);
}

function cell(value) {
  return typeof value === "number" ? exact(value) : harmless(exact(value));
}

// RFC 4180, as `catchment query --format csv` writes it: the start of each point, its labels, its values.
export function csv(answer) {
  const names = [...new Set(answer.series.flatMap((series) => Object.keys(series.labels)))];
  const lines = [["time", ...names, ...answer.aggregates]];
  for (const { series, start, index } of rows(answer)) {
    const values = series.columns.map((column) => cell(column[index]));
    const own = names.map((name) => harmless(series.labels[name] ?? ""));
    lines.push([new Date(start).toISOString(), ...own, ...values]);
  }
  return lines.map((line) => `${line.map(quoted).join(",")}\r\n`).join("");
}

export function save(name, text) {
  const url = URL.createObjectURL(new Blob([text], { type: "text/csv" }));
  el("a", { href: url, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(url), 10000);
}

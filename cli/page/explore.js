// Explore: a query as a chart, with its values as a table and as CSV.

import { el, svg, update } from "./dom.js";
import { browserZone, time } from "./format.js";
import { Panel } from "./panel.js";
import { chart } from "./chart.js";
import { DEFAULTS, STATES, queryForm } from "./form.js";
import { readout, spoken, valuesAt } from "./readout.js";
import { nearest } from "./scale.js";
import { go, link, note } from "./state.js";
import { stateColumns, timeline } from "./timeline.js";
import { ValueTable, csv, save } from "./values.js";

const HEIGHT = 320;
const POINTS_MAX = 2000;
const AXIS = 86;
const LATE_MS = 60000;
const LIVE_LEAST_MS = 2000;
const LIVE_MOST_MS = 60000;
const STEPS = { ArrowLeft: -1, ArrowRight: 1, Home: -Infinity, End: Infinity };

const CHART_KEYS = "Arrow keys move the crosshair and choose the series.";

// The crosshair of a chart that is zoomed with the keyboard, which the next one takes over with the keyboard.
let carried = null;

class Explore {
  constructor(root, parameters) {
    this.root = root;
    this.asked = { ...DEFAULTS, zone: browserZone(), ...parameters };
    this.at = carried?.at ?? null;
    this.chosen = carried?.chosen ?? 0;
    this.focuses = carried !== null;
    carried = null;
    this.parts();
    this.form = queryForm(this.asked, (value) => this.submitted(value));
    this.said = el("p", { class: "visually-hidden", role: "status" });
    root.append(el("h2", null, "Explore"), this.form.node, this.controls(), this.said);
    if (!this.asked.selector) {
      const words = "Write a selector: a metric such as temperature, with labels in braces. ↓ lists what there is.";
      root.append(el("p", { class: "status" }, words));
      this.form.selector.focus();
      return;
    }
    this.panel = new Panel("Chart", {
      path: () => this.path(),
      show: (answer, body) => this.show(answer, body),
      every: (answer) => this.pauseOf(answer),
      empty: (answer) => answer.nothing ?? this.noReadings(answer),
      live: () => this.pushed(),
    });
    root.append(this.panel.node);
    this.panel.paused = this.asked.live === "0";
    this.panel.ask();
    this.resized = new ResizeObserver(() => {
      if (this.drawn && this.drawn.width !== this.width()) this.show(this.panel.last, this.panel.body);
    });
    this.resized.observe(root);
  }

  // The parts of the chart's panel stay while they are filled again and again, and so does the keyboard in them.
  parts() {
    this.head = el("p", { class: "heading" });
    this.plot = el("div", null);
    this.legend = el("div", { class: "readout" });
    this.table = new ValueTable();
    this.details = el("details", { toggle: () => this.fill() }, el("summary", null, "Values as a table"), this.table.node);
    this.listen(this.plot);
  }

  controls() {
    this.live = el("input", { type: "checkbox", change: () => this.setLive(this.live.checked) });
    this.live.checked = this.asked.live !== "0";
    const states = this.asked.agg === STATES;
    const other = { ...this.asked, agg: states ? DEFAULTS.agg : STATES };
    return el("div", { class: "bar" },
      el("label", { class: "switch" }, this.live, "Live"),
      el("button", { type: "button", click: () => this.saveCsv() }, "Save as CSV"),
      el("button", { type: "button", id: "other", click: () => go("explore", other) }, states ? "Show numbers" : "Show states"));
  }

  saveCsv() {
    if (this.panel?.last) save("catchment.csv", csv(this.panel.last));
  }

  submitted(value) {
    const next = { ...value, live: this.asked.live };
    // The same question again is an answer of now.
    if (location.hash === link("explore", next)) this.panel?.ask();
    else go("explore", next);
  }

  width() {
    return Math.max(260, this.root.clientWidth - 2);
  }

  // What to ask, at a path of the dashboard.
  path(name = "explore") {
    const { live, ...asked } = this.asked;
    const points = String(Math.min(POINTS_MAX, Math.max(50, this.width() - AXIS)));
    const given = Object.entries({ ...asked, points }).filter(([, value]) => value);
    return `/data/${name}?${new URLSearchParams(given)}`;
  }

  // What is pushed: a range that ends now, while the chart is live.
  pushed() {
    if (this.asked.to !== "now" || this.asked.live === "0") return null;
    return { path: this.path("live"), fixed: !this.asked.from.startsWith("now"), pixels: this.width() };
  }

  // What is not pushed is asked for again, if the range moves.
  pauseOf(answer) {
    const moves = this.asked.to.startsWith("now") && this.asked.live !== "0";
    return moves ? Math.min(LIVE_MOST_MS, Math.max(LIVE_LEAST_MS, answer.step_ms)) : 0;
  }

  setLive(on) {
    this.asked.live = on ? "" : "0";
    note("explore", this.asked);
    this.panel?.setPaused(!on);
  }

  noReadings(answer) {
    const { zone } = this.asked;
    return `No readings in this range, ${time(answer.from_ms, zone)} to ${time(answer.to_ms, zone)}.`;
  }

  show(answer, body) {
    this.drawn = null;
    if (!answer.series.length) {
      body.replaceChildren();
      return false;
    }
    const size = { width: this.width(), height: HEIGHT, zone: this.asked.zone };
    const states = stateColumns(answer);
    const drawn = states.length > 0 ? timeline(answer, size, states) : chart(answer, size);
    if (this.head.parentNode !== body) body.replaceChildren(this.head, this.plot, this.legend, this.details);
    update(this.head, this.heading(answer));
    this.chosen = Math.min(this.chosen, answer.series.length - 1);
    this.numbered = states.length > 0;
    if (drawn) {
      drawn.node.append(svg("line", { class: "crosshair", y1: drawn.top, y2: drawn.bottom }));
      drawn.node.setAttribute("aria-label", `Chart of ${answer.series.length} series. ${CHART_KEYS}`);
    }
    const instead = this.asked.agg === STATES ? "states in this range: show their numbers" : "numbers for a chart: show their states";
    const none = `These series have no ${instead}, or other aggregates.`;
    update(this.plot, drawn?.node ?? el("p", { class: "status" }, none), drawn?.legend);
    // The same node as before, if there was one.
    const node = this.plot.querySelector(".chart");
    if (drawn) this.drawn = { ...drawn, node, line: node.querySelector(".crosshair"), answer, width: size.width };
    if (this.focuses && document.activeElement === this.root) node?.focus();
    this.focuses = false;
    this.mark(answer, false);
    this.fill();
    return true;
  }

  heading(answer) {
    const { zone } = this.asked;
    // Every gateway is behind by the time that a window takes to close and travel.
    const long = answer.to_ms - (answer.complete_until_ms ?? answer.from_ms) > LATE_MS;
    const late = answer.behind && long ? `, ${answer.behind} of ${answer.expected} gateways are behind` : "";
    const complete = answer.complete_until_ms === null ? "not complete" : `complete until ${time(answer.complete_until_ms, zone)}`;
    const more = " Shown are the 20 series with the most readings: narrow the selector, or group by fewer labels.";
    return [el("strong", null, `step ${answer.step}`), ` · ${zone || "UTC"} · ${complete}${late}.`,
      answer.more && el("span", { class: "warn" }, more)];
  }

  // Fills the table of all values when it is open.
  fill() {
    if (this.details.open && this.panel.last) this.table.show(this.panel.last, this.asked.zone);
  }

  // Shows the values at the crosshair, and reads those of the chosen series out.
  mark(answer, aloud) {
    const rows = valuesAt(answer, this.at);
    const { at, chosen, numbered } = this;
    update(this.legend, readout(answer, rows, { at, chosen, numbered, zone: this.asked.zone }));
    if (this.drawn) {
      const { line, x } = this.drawn;
      const place = at === null ? -10 : x(at + answer.step_ms / 2);
      line.setAttribute("x1", place);
      line.setAttribute("x2", place);
    }
    if (aloud) this.said.textContent = spoken(answer, rows[chosen], this.asked.zone);
  }

  // To the chart that is there when something happens.
  listen(plot) {
    plot.addEventListener("pointermove", (event) => {
      if (!this.drawn?.node.contains(event.target)) return;
      const { node, answer, left, right } = this.drawn;
      const share = (event.clientX - node.getBoundingClientRect().left - left) / (right - left);
      const starts = answer.series[this.chosen].start_ms;
      if (!starts.length || share < 0 || share > 1) return;
      const wanted = answer.from_ms + share * (answer.to_ms - answer.from_ms) - answer.step_ms / 2;
      this.at = starts[nearest(starts, wanted)];
      this.mark(answer, false);
    });
    plot.addEventListener("pointerleave", () => {
      if (!this.drawn || document.activeElement === this.drawn.node) return;
      this.at = null;
      this.mark(this.drawn.answer, false);
    });
    plot.addEventListener("keydown", (event) => {
      if (event.target === this.drawn?.node) this.pressed(event);
    });
  }

  pressed(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const { answer } = this.drawn;
    const { key } = event;
    if (key in STEPS) this.move(answer, STEPS[key] * (event.shiftKey ? 10 : 1));
    else if (key === "ArrowUp" || key === "ArrowDown") {
      const count = answer.series.length;
      this.chosen = (this.chosen + (key === "ArrowUp" ? count - 1 : 1)) % count;
    } else if (key === "Escape") this.at = null;
    else if (key === "+" || key === "-") this.zoom(answer, key === "+" ? 0.5 : 2);
    else return;
    event.preventDefault();
    this.mark(answer, true);
  }

  move(answer, by) {
    const starts = answer.series[this.chosen].start_ms;
    const index = this.at === null ? starts.length - 1 : nearest(starts, this.at);
    this.at = starts[Math.min(starts.length - 1, Math.max(0, index + by))];
  }

  zoom({ from_ms: from, to_ms: to }, factor) {
    const middle = this.at ?? (from + to) / 2;
    carried = { at: this.at, chosen: this.chosen };
    const at = (ms) => new Date(Math.round(middle + (ms - middle) * factor)).toISOString();
    go("explore", { ...this.asked, from: at(from), to: at(to), step: "auto" });
  }

  stop() {
    this.resized?.disconnect();
    this.panel?.stop();
  }

  search() {
    this.form.selector.focus();
    this.form.selector.select();
  }

  pause() {
    this.live.checked = !this.live.checked;
    this.setLive(this.live.checked);
  }
}

// The view. `parameters` are those of the URL.
export function explore(root, parameters) {
  return new Explore(root, parameters);
}

// Explore: a query as a chart, with its values as a table and as CSV.

import { el, field, svg } from "./dom.js";
import { browserZone, labels, number, time } from "./format.js";
import { Panel } from "./panel.js";
import { chart } from "./chart.js";
import { completing } from "./complete.js";
import { nearest } from "./scale.js";
import { go, link, note } from "./state.js";
import { stateColumn, swatch, timeline } from "./timeline.js";
import { csv, save, valueTable } from "./values.js";

const HEIGHT = 320;
const LIVE_LEAST_MS = 2000;
const LIVE_MOST_MS = 60000;
const DEFAULTS = { agg: "mean,p50,p99,min,max,count", from: "now-15m", to: "now", step: "auto", by: "", selector: "" };
const STATES = "state_shares,state_count";

function choice(id, value, suggestions, attributes) {
  const list = el("datalist", { id: `${id}-list` }, suggestions.map((text) => el("option", { value: text })));
  return el("span", null, el("input", { id, value, list: `${id}-list`, autocomplete: "off", spellcheck: "false", ...attributes }), list);
}

function form(asked, submit) {
  const selector = el("input", { id: "selector", value: asked.selector, placeholder: 'temperature{site="berlin"}', "aria-label": "Selector" });
  const inputs = {
    agg: choice("agg", asked.agg, [DEFAULTS.agg, "mean", "count", "rate", "increase", "sum", STATES]),
    by: choice("by", asked.by, ["site", "device", "site,device", "__name__"], { placeholder: "all together" }),
    from: choice("from", asked.from, ["now-5m", "now-15m", "now-1h", "now-6h", "now-1d", "now-1w", "now-1mo"]),
    to: choice("to", asked.to, ["now"]),
    step: choice("step", asked.step, ["auto", "10s", "1m", "10m", "1h", "1d", "1w", "1mo"]),
    zone: choice("zone", asked.zone, [...new Set(["UTC", browserZone()])]),
  };
  const titles = { agg: "Aggregates", by: "Group by", from: "From", to: "To", step: "Step", zone: "Time zone" };
  const node = el("form", { class: "query", submit: (event) => { event.preventDefault(); submit(value()); } },
    el("label", { class: "field wide" }, el("span", null, "Selector"), completing(selector)),
    Object.entries(inputs).map(([name, input]) => field(titles[name], input)),
    el("button", { type: "submit", class: "primary" }, "Show"));

  function value() {
    const entries = Object.entries(inputs).map(([name, input]) => [name, input.querySelector("input").value.trim()]);
    return { ...Object.fromEntries(entries), selector: selector.value.trim() };
  }
  return { node, selector };
}

// The view. `parameters` are those of the URL.
export function explore(root, parameters) {
  let asked = { ...DEFAULTS, zone: browserZone(), ...parameters };
  const query = form(asked, submitted);
  const live = el("input", { type: "checkbox", change: () => setLive(live.checked) });
  live.checked = asked.live !== "0";
  const said = el("p", { class: "visually-hidden", role: "status", "aria-live": "polite" });
  const controls = el("div", { class: "bar" },
    el("label", { class: "switch" }, live, "Live"),
    el("button", { type: "button", click: () => panel?.last && save("catchment.csv", csv(panel.last)) }, "Save as CSV"),
    el("button", { type: "button", click: () => go("explore", { ...asked, agg: asked.agg === STATES ? DEFAULTS.agg : STATES }) },
      asked.agg === STATES ? "Show numbers" : "Show states"));
  root.append(el("h2", null, "Explore"), query.node, controls, said);
  const cursor = { at: null, series: 0 };
  let open = false;
  let panel = null;
  let frame = null;
  if (asked.selector) {
    panel = new Panel("Chart", { path, show, every: pause, empty });
    root.append(panel.node);
  } else {
    root.append(el("p", { class: "panel status" }, "Write a selector: a metric such as temperature, with labels in braces. ↓ lists what there is."));
    query.selector.focus();
  }

  const resized = new ResizeObserver(() => { if (panel?.last && frame?.width !== width()) show(panel.last, panel.body); });
  resized.observe(root);

  function submitted(value) {
    const next = { ...value, live: asked.live };
    // The same question again is an answer of now.
    if (location.hash === link("explore", next)) panel?.ask();
    else go("explore", next);
  }

  function width() {
    return Math.max(260, root.clientWidth - 2);
  }

  function path() {
    const { selector, agg, by, from, to, step, zone, order, ascending } = asked;
    const given = Object.entries({ selector, agg, by, from, to, step, zone, order, ascending }).filter(([, value]) => value);
    return `/data/explore?${new URLSearchParams([...given, ["points", String(Math.min(2000, Math.max(50, width() - 70)))]])}`;
  }

  function pause(answer) {
    const moves = asked.to.startsWith("now") && asked.live !== "0";
    return moves ? Math.min(LIVE_MOST_MS, Math.max(LIVE_LEAST_MS, answer.step_ms)) : 0;
  }

  function setLive(on) {
    asked = { ...asked, live: on ? "" : "0" };
    note("explore", asked);
    if (!panel) return;
    panel.paused = !on;
    if (on) panel.ask();
    else panel.later(0);
    if (panel.last && panel.node.dataset.state !== "stale") panel.ready();
  }

  function empty(answer) {
    if (answer.nothing) return answer.nothing;
    return `No readings in this range, ${time(answer.from_ms, asked.zone)} to ${time(answer.to_ms, asked.zone)}.`;
  }

  function show(answer, body) {
    const size = { width: width(), height: HEIGHT, zone: asked.zone };
    if (!answer.series.length) {
      body.replaceChildren();
      frame = null;
      return false;
    }
    const states = stateColumn(answer);
    const drawn = states >= 0 ? timeline(answer, size, states) : chart(answer, size);
    const focused = document.activeElement;
    const again = focused?.classList.contains("chart") && body.contains(focused);
    frame = drawn && { ...drawn, width: size.width, answer };
    const readout = el("div", { class: "readout" });
    const values = el("details", { toggle: (event) => { open = event.target.open; fill(); } }, el("summary", null, "Values as a table"));
    const fill = () => { if (open && values.children.length === 1) values.append(valueTable(answer, asked.zone)); };
    values.open = open;
    fill();
    body.replaceChildren(heading(answer),
      drawn ? drawn.node : el("p", { class: "status" }, "These series have no numbers for a chart: show their states, or other aggregates."),
      drawn?.legend ?? "", readout, values);
    if (frame) {
      frame.readout = readout;
      frame.line = drawn.node.appendChild(crosshair(drawn));
      listen(drawn.node);
      if (again) drawn.node.focus();
    }
    mark(false);
    return true;
  }

  function heading(answer) {
    const late = answer.behind ? `, ${answer.behind} of ${answer.expected} gateways are behind` : "";
    const complete = answer.complete_until_ms === null ? "not complete" : `complete until ${time(answer.complete_until_ms, asked.zone)}`;
    const more = answer.more ? " Shown are the 20 series with the most readings: narrow the selector, or group by fewer labels." : "";
    return el("p", { class: "heading" }, el("strong", null, `step ${answer.step}`), ` · ${asked.zone || "UTC"} · ${complete}${late}.`,
      more && el("span", { class: "warn" }, more));
  }

  // The series' values at the crosshair, or the last ones: the legend of the chart.
  function mark(aloud) {
    if (!panel?.last || !panel.body.querySelector(".readout")) return;
    const answer = panel.last;
    const rows = answer.series.map((series, index) => {
      const point = cursor.at === null ? series.start_ms.length - 1 : nearest(series.start_ms, cursor.at);
      const there = cursor.at === null || Math.abs(series.start_ms[point] - cursor.at) < answer.step_ms;
      return { series, index, start: series.start_ms[point], values: series.columns.map((column) => (there ? column[point] : null)) };
    });
    const states = stateColumn(answer);
    cursor.series = Math.min(cursor.series, rows.length - 1);
    const when = cursor.at ?? Math.max(...rows.map((row) => row.start));
    panel.body.querySelector(".readout").replaceChildren(
      el("p", null, cursor.at === null ? `Last values, from ${time(when, asked.zone)}` : `At ${time(when, asked.zone)}`),
      el("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Values at the crosshair" }, el("table", null,
        el("thead", null, el("tr", null, ["Series", ...answer.aggregates].map((title, index) => el("th", { scope: "col", class: index > 0 && "number" }, title)))),
        el("tbody", null, rows.map(({ series, index, values }) => el("tr", { class: cursor.at !== null && index === cursor.series && "chosen" },
          el("th", { scope: "row" }, states >= 0 ? `#${index + 1} ` : swatch(index), labels(series.labels)), values.map((value) => el("td", { class: "number" }, number(value)))))))));
    const row = rows[cursor.series];
    const words = row.values.map((value, index) => `${answer.aggregates[index]} ${number(value)}`).join(", ");
    if (frame) {
      frame.node.setAttribute("aria-label", `Chart of ${answer.series.length} series. Arrow keys move the crosshair and choose the series.`);
      const x = cursor.at === null ? -10 : frame.x(cursor.at + answer.step_ms / 2);
      frame.line.setAttribute("x1", x);
      frame.line.setAttribute("x2", x);
    }
    if (aloud) said.textContent = `${time(when, asked.zone)}, ${labels(row.series.labels)}: ${words}`;
  }

  function listen(node) {
    node.addEventListener("pointermove", (event) => {
      const { answer, left, right } = frame;
      const share = (event.clientX - node.getBoundingClientRect().left - left) / (right - left);
      const starts = answer.series[cursor.series]?.start_ms ?? [];
      if (!starts.length || share < 0 || share > 1) return;
      cursor.at = starts[nearest(starts, answer.from_ms + share * (answer.to_ms - answer.from_ms) - answer.step_ms / 2)];
      mark(false);
    });
    node.addEventListener("pointerleave", () => { if (document.activeElement !== node) { cursor.at = null; mark(false); } });
    node.addEventListener("keydown", pressed);
  }

  function pressed(event) {
    const { answer } = frame;
    const starts = answer.series[cursor.series].start_ms;
    const index = cursor.at === null ? starts.length - 1 : nearest(starts, cursor.at);
    const by = { ArrowLeft: -1, ArrowRight: 1, Home: -Infinity, End: Infinity }[event.key];
    if (by) cursor.at = starts[Math.min(starts.length - 1, Math.max(0, index + by * (event.shiftKey && Number.isFinite(by) ? 10 : 1)))];
    else if (event.key === "ArrowUp" || event.key === "ArrowDown") {
      cursor.series = (cursor.series + (event.key === "ArrowUp" ? answer.series.length - 1 : 1)) % answer.series.length;
      cursor.at ??= starts.at(-1);
    } else if (event.key === "+" || event.key === "-") zoom(event.key === "+" ? 0.5 : 2);
    else if (event.key === "Escape") cursor.at = null;
    else return;
    event.preventDefault();
    mark(true);
  }

  function zoom(factor) {
    const { from_ms: from, to_ms: to } = frame.answer;
    const middle = cursor.at ?? (from + to) / 2;
    const at = (ms) => new Date(Math.round(middle + (ms - middle) * factor)).toISOString();
    go("explore", { ...asked, from: at(from), to: at(to), step: "auto" });
  }

  return {
    panel,
    stop: () => { resized.disconnect(); panel?.stop(); },
    search: () => { query.selector.focus(); query.selector.select(); },
    pause: () => { live.checked = !live.checked; setLive(live.checked); },
  };
}

function crosshair({ top, bottom }) {
  return svg("line", { class: "crosshair", x1: -10, x2: -10, y1: top, y2: bottom });
}

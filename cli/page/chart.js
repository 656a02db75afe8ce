// A chart of numbers: bands between quantiles, between minimum and maximum, and lines. One exact point a pixel comes from the
// server, so nothing is thinned here.

import { svg } from "./dom.js";
import { mark, tick } from "./format.js";
import { extent, runs, ticks, timeTicks } from "./scale.js";

const LEFT = 76;
const RIGHT = 10;
const TOP = 10;
const BOTTOM = 26;
const HALF_LABEL = 26;
// So many bands over one another are paler.
const MANY = 6;
export const COLOURS = 10;

// Which columns are drawn how. The number of readings has another unit, so it is drawn only alone.
export function roles(aggregates) {
  const quantiles = aggregates
    .map((name, index) => ({ index, rank: name === "median" ? 50 : Number(/^p([\d.]+)$/.exec(name)?.[1] ?? NaN) }))
    .filter(({ rank }) => rank >= 0)
    .sort((a, b) => a.rank - b.rank);
  const band = quantiles.length > 1 ? [quantiles[0].index, quantiles.at(-1).index] : null;
  const [low, high] = [aggregates.indexOf("min"), aggregates.indexOf("max")];
  const range = low >= 0 && high >= 0 ? [low, high] : null;
  const areas = [...(band ?? []), ...(range ?? [])];
  const others = aggregates.map((_, index) => index).filter((index) => !areas.includes(index));
  const counts = ["count", "state_count"];
  const lines = others.filter((index) => !counts.includes(aggregates[index]));
  return { band, range, lines: lines.length || areas.length ? lines : others };
}

// The frame of a chart: axes, gaps and the time that is not complete.
export function frame(answer, { width, height, zone }, [low, high]) {
  const right = Math.max(LEFT + 10, width - RIGHT);
  const bottom = height - BOTTOM;
  const x = (ms) => LEFT + ((ms - answer.from_ms) / (answer.to_ms - answer.from_ms)) * (right - LEFT);
  const y = (value) => bottom - ((value / 2 - low / 2) / (high / 2 - low / 2)) * (bottom - TOP);
  const inside = (ms) => Math.min(right, Math.max(LEFT, x(ms)));
  const box = `0 0 ${width} ${height}`;
  const node = svg("svg", { class: "chart", width, height, viewBox: box, tabindex: "0", role: "img", "data-key": "chart" });
  const stripe = svg("path", { class: "hatch", d: "M0 8L8 0" });
  node.append(svg("defs", null,
    svg("pattern", { id: "hatch", width: 8, height: 8, patternUnits: "userSpaceOnUse" }, stripe),
    svg("clipPath", { id: "inside" }, svg("rect", { x: LEFT, y: 0, width: right - LEFT, height: bottom + 1 }))));
  const area = (from, to, kind, title) => {
    const left = inside(from);
    const wide = inside(to) - left;
    const place = { x: left, y: TOP, width: wide, height: bottom - TOP };
    if (wide > 0) node.append(svg("rect", { class: kind, ...place }, svg("title", null, title)));
  };
  const complete = answer.complete_until_ms ?? (answer.expected ? answer.from_ms : answer.to_ms);
  area(Math.max(complete, answer.from_ms), answer.to_ms, "incomplete", "Not complete yet");
  for (const gap of answer.gaps) area(gap.from_ms ?? answer.from_ms, gap.to_ms, "gap", `Windows of ${gap.gateway} are lost`);
  const times = timeTicks(answer.from_ms, answer.to_ms, (right - LEFT) / 90, zone);
  for (const at of times.list) {
    // The last one ends where the image does.
    const place = x(at) > width - HALF_LABEL ? { class: "axis end", x: width } : { class: "axis middle", x: x(at) };
    node.append(svg("line", { class: "grid", x1: x(at), x2: x(at), y1: TOP, y2: bottom }),
      svg("text", { ...place, y: height - 8 }, tick(at, times.apart, zone)));
  }
  return { node, x, y, left: LEFT, right, top: TOP, bottom };
}

// A chart of all series; null if there is no number.
export function chart(answer, size) {
  const { band, range, lines } = roles(answer.aggregates);
  const drawn = [...new Set([...(band ?? []), ...(range ?? []), ...lines])];
  const scale = extent(answer.series.flatMap((series) => drawn.map((column) => series.columns[column])));
  if (!scale) return null;
  const at = frame(answer, size, scale);
  const values = ticks(...scale, (at.bottom - at.top) / 40);
  for (const value of values.list) {
    at.node.append(svg("line", { class: "grid", x1: at.left, x2: at.right, y1: at.y(value), y2: at.y(value) }),
      svg("text", { class: "axis end", x: at.left - 6, y: at.y(value) + 4 }, mark(value, values.apart)));
  }
  const inside = svg("g", { "clip-path": "url(#inside)", class: answer.series.length > MANY && "many" });
  answer.series.forEach((series, index) => {
    const colour = `s${index % COLOURS}`;
    const draw = (kind, d) => { if (d) inside.append(svg("path", { class: `${kind} ${colour}`, d })); };
    if (range) draw("range", areaPath(answer, series, range, at));
    if (band) draw("band", areaPath(answer, series, band, at));
    lines.forEach((column, order) => draw(`line d${order % 4}`, linePath(answer, series, column, at)));
  });
  at.node.append(inside);
  return at;
}

function point(answer, series, index, at) {
  return at.x(series.start_ms[index] + answer.step_ms / 2).toFixed(1);
}

function linePath(answer, series, column, at) {
  const values = series.columns[column];
  const found = runs(series.start_ms, answer.step_ms, (index) => typeof values[index] === "number");
  return found.map((run) => {
    const points = run.map((index) => `${point(answer, series, index, at)} ${at.y(values[index]).toFixed(1)}`);
    // A lone point is a dot: the end of a line of no length is round.
    return `M${points.join("L")}${points.length === 1 ? "h0.01" : ""}`;
  }).join("");
}

function areaPath(answer, series, [low, high], at) {
  const [below, above] = [series.columns[low], series.columns[high]];
  const both = (index) => typeof below[index] === "number" && typeof above[index] === "number";
  return runs(series.start_ms, answer.step_ms, both).map((run) => {
    const edge = (values) => (index) => `${point(answer, series, index, at)} ${at.y(values[index]).toFixed(1)}`;
    const there = run.map(edge(above));
    const back = run.toReversed().map(edge(below));
    return `M${there.join("L")}L${back.join("L")}Z`;
  }).join("");
}

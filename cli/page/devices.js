// The list of devices.

import { el } from "./dom.js";
import { time, span, browserZone } from "./format.js";
import { listView } from "./list.js";
import { link } from "./state.js";

// A PromQL string.
export function quoted(text) {
  return JSON.stringify(text);
}

export const devices = listView({
  view: "devices",
  title: "Devices",
  switches: [{ name: "silent_only", title: "silent ones only" }],
  words: { empty: (answer) => (answer.total ? "No device is found." : "The aggregator knows no devices yet.") },
  columns: [
    { title: "Device", sort: "device", cell: (row) => explore(row) },
    { title: "Site", sort: "site", cell: (row) => row.site },
    { title: "Gateway", sort: "gateway", cell: (row) => row.gateway },
    { title: "Last seen", sort: "last_seen", cell: seen },
    { title: "Series", sort: "series", number: true, cell: (row) => String(row.series) },
  ],
});

function explore({ site, device }) {
  const selector = `{site=${quoted(site)},device=${quoted(device)}}`;
  return el("a", { href: link("explore", { selector, by: "__name__" }) }, device);
}

function seen(row, now) {
  const ago = `${span(now - row.last_seen_ms)} ago`;
  const title = time(row.last_seen_ms, browserZone());
  return el("span", { title, class: row.silent && "bad" }, row.silent ? `silent, ${ago}` : ago);
}

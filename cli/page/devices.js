// The list of devices.

import { el } from "./dom.js";
import { end, time, span, browserZone } from "./format.js";
import { listView } from "./list.js";
import { link } from "./state.js";

// A PromQL string.
export function quoted(text) {
  return JSON.stringify(text);
}

export const devices = listView({
  view: "devices",
  title: "Devices",
  switches: [
    { name: "silent_only", title: "silent ones only" },
    { name: "expiring_only", title: "certificate ends within 30 days" },
  ],
  words: { empty: (answer) => answer.note ?? (answer.total ? "No device is found." : "The aggregator knows no devices yet.") },
  columns: [
    { title: "Device", sort: "device", cell: (row) => explore(row) },
    { title: "Site", sort: "site", cell: (row) => row.site },
    { title: "Gateway", sort: "gateway", cell: (row) => row.gateway },
    { title: "Last seen", sort: "last_seen", cell: seen },
    { title: "Certificate ends", sort: "expires", cell: certificate },
    { title: "Series", sort: "series", number: true, cell: (row) => String(row.series) },
  ],
});

function explore({ site, device }) {
  const selector = `{site=${quoted(site)},device=${quoted(device)}}`;
  return el("a", { href: link("explore", { selector, by: "__name__" }) }, device);
}

// When the certificate of a device or a gateway ends.
export function certificate({ expires_ms: ends, expiring }, now) {
  const title = ends === null ? "not known" : time(ends, browserZone());
  return el("span", { title, class: expiring && "bad" }, end(ends, now));
}

function seen(row, now) {
  const ago = `${span(now - row.last_seen_ms)} ago`;
  const title = time(row.last_seen_ms, browserZone());
  if (row.moved) return el("span", { title }, `${ago}, since then at another gateway`);
  return el("span", { title, class: row.silent && "bad" }, row.silent ? `silent, ${ago}` : ago);
}

// The list of gateways.

import { certificate } from "./devices.js";
import { el } from "./dom.js";
import { time, span, browserZone } from "./format.js";
import { listView } from "./list.js";

export const gateways = listView({
  view: "gateways",
  title: "Gateways",
  switches: [{ name: "problems_only", title: "only with problems" }],
  words: { empty: (answer) => (answer.total ? "No gateway is found." : "No gateway has connected yet.") },
  columns: [
    { title: "Site", sort: "site", cell: (row) => row.site },
    { title: "Gateway", sort: "gateway", cell: (row) => row.gateway },
    { title: "State", sort: "connected", cell: state },
    { title: "Lag", sort: "lag", number: true, cell: (row) => (row.lag_ms === null ? "–" : span(row.lag_ms)) },
    { title: "Complete until", cell: (row) => time(row.watermark_ms, browserZone()) },
    { title: "Devices", sort: "devices", number: true, cell: (row) => String(row.devices) },
    { title: "Series", sort: "series", number: true, cell: series },
    { title: "Certificate ends", sort: "expires", cell: certificate },
    { title: "Version", sort: "version", cell: (row) => row.version },
  ],
});

function series({ series: count, series_max: most }) {
  return most ? `${count} of ${most}` : String(count);
}

function state(row) {
  if (row.retired) return "retired";
  if (row.problems.length) return el("span", { class: "bad" }, row.problems.join("; "));
  return el("span", { class: "good" }, "connected");
}

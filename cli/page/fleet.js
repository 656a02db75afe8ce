// The state of the fleet: numbers, then what is wrong, then the sites.

import { el, update } from "./dom.js";
import { time, browserZone } from "./format.js";
import { Panel } from "./panel.js";
import { link } from "./state.js";

export function fleet(root) {
  const empty = () => "No gateway has connected yet.";
  const panel = new Panel("Fleet", { path: () => "/data/fleet", show, every: 5000, empty, button: true });
  root.append(el("h2", null, "Fleet"), panel.node);
  panel.ask();
  return {
    stop: () => panel.stop(),
    search: () => { location.hash = link("devices"); },
    pause: () => panel.setPaused(!panel.paused),
  };
}

function tile(title, value, { bad, href } = {}) {
  const text = el("span", { class: "value" }, String(value));
  const inside = [text, el("span", { class: "title" }, title)];
  const state = bad ? "tile bad" : "tile";
  return href ? el("a", { class: state, href }, inside) : el("div", { class: state }, inside);
}

function show(answer, body) {
  const { total } = answer;
  if (!total.gateways && !total.devices) {
    update(body);
    return false;
  }
  const silent = { silent_only: "1", sort: "last_seen" };
  const expiring = { expiring_only: "1", sort: "expires" };
  const tiles = [
    tile("sites", answer.sites_total),
    tile("gateways", total.gateways, { href: link("gateways") }),
    tile("not connected", total.down, { bad: total.down > 0, href: link("gateways", { sort: "connected" }) }),
    tile("behind", total.behind, { bad: total.behind > 0, href: link("gateways", { sort: "lag", descending: "1" }) }),
    tile("devices", total.devices, { href: link("devices") }),
    tile("silent for 5 min", total.silent, { bad: total.silent > 0, href: link("devices", silent) }),
    tile("expiring in 30 days", total.expiring, { bad: total.expiring > 0, href: link("devices", expiring) }),
    tile("series", total.series),
  ];
  const complete = answer.complete_until_ms === null
    ? "Incomplete: a gateway has never delivered."
    : `Complete until ${time(answer.complete_until_ms, browserZone())}.`;
  update(body,
    el("div", { class: "tiles" }, tiles),
    el("p", null, complete, answer.more ? " The lists are cut: there are more devices or gateways than the dashboard holds." : ""),
    problems(answer),
    el("h3", null, "Sites"),
    table(["Site", "Gateways", "Not connected", "Behind", "Devices", "Silent", "Expiring", "Series"], answer.sites.map((site) => [
      el("a", { href: link("devices", { search: site.site }) }, site.site),
      ...[site.gateways, site.down, site.behind, site.devices, site.silent, site.expiring, site.series].map(String),
    ])));
  return true;
}

function problems({ problems: list, problems_total: total }) {
  if (!list.length) return el("p", { class: "good" }, "No gateway has problems.");
  const items = list.map(({ site, gateway, problem }) =>
    el("li", { "data-key": `${site}/${gateway}` }, el("a", { href: link("gateways", { search: gateway }) }, `${site}/${gateway}`), `: ${problem}`));
  const rest = total > list.length ? el("p", null, `and ${total - list.length} more`) : null;
  return el("div", null, el("h3", null, `Problems (${total})`), el("ul", { class: "problems" }, items), rest);
}

function table(titles, rows) {
  const head = titles.map((title, index) => el("th", { scope: "col", class: index > 0 && "number" }, title));
  const cells = (row) => row.map((cell, index) => el("td", { class: index > 0 && "number" }, cell));
  return el("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Sites" }, el("table", null,
    el("thead", null, el("tr", null, head)),
    el("tbody", null, rows.map((row) => el("tr", { "data-key": row[0].textContent }, cells(row))))));
}

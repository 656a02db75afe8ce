// A list that the server searches, sorts and cuts: the page holds one page of it.

import { el, field, update } from "./dom.js";
import { Panel } from "./panel.js";
import { note } from "./state.js";

const ROWS = 100;
const TYPING_MS = 250;

// Names a row: what it is about.
function rowKey({ site, gateway, device }) {
  return JSON.stringify([site, gateway, device]);
}

// A view of a list: `columns` have a title, a function that makes a cell of a row, and the name that the server sorts by.
export function listView({ view, title, columns, switches, words }) {
  return (root, first) => {
    let parameters = { ...first };
    const search = el("input", { type: "search", value: parameters.search, placeholder: "part of a name", input: typed });
    const boxes = switches.map(({ name, title: text }) => {
      const box = el("input", { type: "checkbox", change: () => change({ [name]: box.checked ? "1" : "", offset: "" }) });
      box.checked = parameters[name] === "1";
      return el("label", { class: "switch" }, box, text);
    });
    const panel = new Panel(title, { path, show, every: 5000, empty: words.empty, button: true });
    root.append(el("h2", null, title), el("div", { class: "bar find" }, field("Search", search), boxes), panel.node);
    let typing;
    panel.ask();

    function path() {
      return `/data/${view}?${new URLSearchParams({ ...parameters, limit: ROWS })}`;
    }

    function change(changed) {
      parameters = { ...parameters, ...changed };
      note(view, parameters);
      panel.ask();
    }

    function typed() {
      clearTimeout(typing);
      typing = setTimeout(() => change({ search: search.value, offset: "" }), TYPING_MS);
    }

    // The least first; pressed again, the greatest.
    function order(sort) {
      const again = (parameters.sort ?? columns[0].sort) === sort && parameters.descending !== "1";
      change({ sort, descending: again ? "1" : "", offset: "" });
    }

    function turn(by) {
      const to = Number(parameters.offset || 0) + by;
      change({ offset: to > 0 ? String(to) : "" });
    }

    function header({ title: text, sort, number }) {
      const own = sort && (parameters.sort ?? columns[0].sort) === sort;
      const down = own && parameters.descending === "1";
      const sorted = own ? (down ? "descending" : "ascending") : undefined;
      const arrow = own ? (down ? " ▾" : " ▴") : "";
      const inside = sort ? el("button", { type: "button", click: () => order(sort) }, text, arrow) : text;
      return el("th", { scope: "col", class: number && "number", "aria-sort": sorted }, inside);
    }

    function show(answer, body) {
      const offset = Number(parameters.offset || 0);
      const rows = answer.rows.map((row) =>
        el("tr", { "data-key": rowKey(row) }, columns.map(({ cell, number }) => el("td", { class: number && "number" }, cell(row, answer.now_ms)))));
      const step = (text, by, disabled) => el("button", { type: "button", disabled, click: () => turn(by) }, text);
      const last = offset + answer.rows.length;
      const pager = el("div", { class: "bar" },
        step("Previous", -ROWS, offset === 0),
        el("span", null, answer.rows.length ? `${offset + 1}–${last} of ${answer.found}` : `none of ${answer.found}`),
        step("Next", ROWS, last >= answer.found),
        answer.more && el("span", { class: "warn" }, "The list is cut: there are more than the dashboard holds."),
        answer.note && el("span", { class: "warn" }, answer.note));
      const table = el("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": `Table: ${title}` }, el("table", null,
        el("thead", null, el("tr", null, columns.map(header))), el("tbody", null, rows)));
      update(body, answer.found ? [table, pager] : []);
      return answer.found > 0;
    }

    return {
      stop: () => { clearTimeout(typing); panel.stop(); },
      search: () => search.focus(),
      pause: () => panel.setPaused(!panel.paused),
    };
  };
}

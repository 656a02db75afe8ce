// The form of a query.

import { el, field } from "./dom.js";
import { browserZone } from "./format.js";
import { completing } from "./complete.js";

export const STATES = "state_shares,last_state,state_count";
export const DEFAULTS = {
  selector: "", agg: "mean,p50,p99,min,max,count", by: "", from: "now-15m", to: "now", step: "auto",
};

// The fields beside the selector: title, suggestions, and what an empty one means.
const FIELDS = {
  agg: ["Aggregates", [DEFAULTS.agg, "mean", "count", "rate", "increase", "sum", STATES]],
  by: ["Group by", ["site", "device", "site,device", "__name__"], "all together"],
  from: ["From", ["now-5m", "now-15m", "now-1h", "now-6h", "now-1d", "now-1w", "now-1mo"]],
  to: ["To", ["now"]],
  step: ["Step", ["auto", "10s", "1m", "10m", "1h", "1d", "1w", "1mo"]],
  zone: ["Time zone", [...new Set(["UTC", browserZone()])]],
};

function choice(id, value, suggestions, placeholder) {
  const list = el("datalist", { id: `${id}-list` }, suggestions.map((text) => el("option", { value: text })));
  const input = el("input", { id, value, placeholder, list: list.id, autocomplete: "off", spellcheck: "false" });
  return { input, node: el("span", null, input, list) };
}

// A form that shows `asked` and calls `submit` with what was written.
export function queryForm(asked, submit) {
  const selector = el("input", { id: "selector", value: asked.selector, placeholder: 'temperature{site="berlin"}' });
  const choices = Object.entries(FIELDS).map(([name, [title, suggestions, placeholder]]) =>
    ({ name, title, ...choice(name, asked[name], suggestions, placeholder) }));
  const submitted = (event) => {
    event.preventDefault();
    const given = choices.map(({ name, input }) => [name, input.value.trim()]);
    submit({ ...Object.fromEntries(given), selector: selector.value.trim() });
  };
  const node = el("form", { class: "query", submit: submitted },
    el("label", { class: "field wide" }, el("span", null, "Selector"), completing(selector)),
    choices.map(({ name, title, node: input }) => field(title, input, name === "agg" && "two")),
    el("button", { type: "submit", id: "show", class: "primary" }, "Show"));
  return { node, selector };
}

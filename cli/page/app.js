// Shows the view that the URL names, and its keys.

import { getJson } from "./ask.js";
import { read, link } from "./state.js";
import { fleet } from "./fleet.js";
import { gateways } from "./gateways.js";
import { devices } from "./devices.js";
import { explore } from "./explore.js";

const VIEWS = { fleet, gateways, devices, explore };
const KEYS = { f: "fleet", g: "gateways", d: "devices", e: "explore" };
const SECOND_KEY_MS = 1500;

const main = document.getElementById("main");
const help = document.getElementById("help");
let current = null;
let gone = -Infinity;

function show() {
  const { view, parameters } = read();
  current?.stop();
  // A view that is shown again, with another query, keeps the keyboard where it was.
  const focused = main.contains(document.activeElement) ? document.activeElement.id : null;
  main.replaceChildren();
  for (const anchor of document.querySelectorAll("nav a")) {
    if (anchor.dataset.view === view) anchor.setAttribute("aria-current", "page");
    else anchor.removeAttribute("aria-current");
  }
  document.title = `${view} · Catchment`;
  current = VIEWS[view](main, parameters);
  if (focused !== null && !main.contains(document.activeElement)) (focused && document.getElementById(focused) || main).focus();
}

function typing(target) {
  return target instanceof HTMLElement && (target.matches("input:not([type=checkbox]), textarea, select") || target.isContentEditable);
}

function pressed(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || help.open) return;
  if (typing(event.target)) {
    if (event.key === "Escape") event.target.blur();
    return;
  }
  const second = performance.now() - gone < SECOND_KEY_MS;
  gone = -Infinity;
  if (second && KEYS[event.key]) location.hash = link(KEYS[event.key]);
  else if (event.key === "g") gone = performance.now();
  else if (event.key === "/") current?.search();
  else if (event.key === "?") help.showModal();
  else if (event.key === "p") current?.pause();
  else return;
  event.preventDefault();
}

document.addEventListener("keydown", pressed);
document.getElementById("help-button").addEventListener("click", () => help.showModal());
document.getElementById("skip").addEventListener("click", () => main.focus());
window.addEventListener("hashchange", show);
show();
getJson("/data/about")
  .then(({ aggregator, version }) => { document.getElementById("where").textContent = `${aggregator} · ${version}`; })
  .catch(() => {
    // The panels say what is wrong.
  });

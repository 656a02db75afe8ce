// A panel shows an answer that is asked for again and again, and says in which state it is: loading, ready, empty,
// refused (with the server's words), disconnected, stale or paused.

import { el } from "./dom.js";
import { time, browserZone } from "./format.js";

const RETRY_MAX_MS = 30000;

// An answer that did not come.
export class Failed extends Error {
  constructor(kind, words) {
    super(words);
    this.kind = kind;
  }
}

// The JSON at a path of the dashboard.
export async function getJson(path, signal) {
  let answer;
  try {
    answer = await fetch(path, { signal, cache: "no-store" });
  } catch (error) {
    if (signal?.aborted) throw error;
    throw new Failed("disconnected", "the dashboard does not answer: is its program still running?");
  }
  let json = null;
  try {
    json = await answer.json();
  } catch (error) {
    if (signal?.aborted) throw error;
  }
  if (answer.ok && json !== null) return json;
  const kind = json?.kind ?? (answer.status >= 500 ? "disconnected" : "refused");
  throw new Failed(kind === "forbidden" ? "refused" : kind, json?.error ?? `the dashboard answers with status ${answer.status}`);
}

export class Panel {
  // `path()` is what to ask now, `show(answer, body)` fills the body and returns false if there is nothing to see, `every`
  // is the pause in milliseconds, or a function of the last answer; 0: ask once.
  constructor(title, { path, show, every, empty }) {
    this.options = { path, show, every, empty };
    this.status = el("p", { class: "status", role: "status" });
    this.body = el("div", { class: "body" });
    this.node = el("section", { class: "panel", "aria-label": title }, this.status, this.body);
    this.paused = false;
    this.failures = 0;
    this.asOf = null;
    this.onVisible = () => { if (!document.hidden && this.due) this.ask(); };
    document.addEventListener("visibilitychange", this.onVisible);
    this.set("loading", "Loading …");
    this.ask();
  }

  set(state, words) {
    this.node.dataset.state = state;
    this.node.setAttribute("aria-busy", String(state === "loading"));
    if (this.status.textContent !== words) this.status.textContent = words;
  }

  // Asks now; an earlier question that is not answered yet is given up.
  async ask() {
    clearTimeout(this.timer);
    this.due = false;
    this.asking?.abort();
    const asking = new AbortController();
    this.asking = asking;
    try {
      const answer = await getJson(this.options.path(), asking.signal);
      if (asking.signal.aborted) return;
      this.failures = 0;
      this.last = answer;
      this.asOf = Date.now();
      const shown = this.options.show(answer, this.body);
      if (shown === false) this.set("empty", this.options.empty(answer));
      else this.ready();
      this.later(this.pause());
    } catch (error) {
      if (asking.signal.aborted) return;
      this.fail(error);
    }
  }

  ready() {
    const at = time(Math.floor(this.asOf / 1000) * 1000, browserZone()).slice(11);
    this.set(this.paused ? "paused" : "ready", `${this.paused ? "Paused, as" : "As"} of ${at}`);
  }

  pause() {
    const { every } = this.options;
    return typeof every === "function" ? every(this.last) : every;
  }

  fail(error) {
    if (!(error instanceof Failed)) {
      this.set("refused", "The page has a defect: reload it, and report what the browser's console says.");
      throw error;
    }
    this.failures += 1;
    if (error.kind === "refused") {
      this.body.replaceChildren();
      this.last = undefined;
      this.set("refused", `Refused: ${error.message}`);
      return;
    }
    const at = this.last && time(Math.floor(this.asOf / 1000) * 1000, browserZone()).slice(11);
    const kept = this.last ? ` Shown is what was known at ${at}.` : "";
    this.set(this.last ? "stale" : "disconnected", `Disconnected: ${error.message}. Trying again.${kept}`);
    this.later(Math.min(RETRY_MAX_MS, 1000 * 2 ** Math.min(this.failures, 5)));
  }

  later(pause) {
    clearTimeout(this.timer);
    if (!pause || this.paused) return;
    this.timer = setTimeout(() => {
      // A page that nobody sees asks nothing.
      if (document.hidden) this.due = true;
      else this.ask();
    }, pause);
  }

  togglePause() {
    this.paused = !this.paused;
    if (!this.paused) this.ask();
    else {
      clearTimeout(this.timer);
      if (this.node.dataset.state === "ready") this.ready();
    }
    return this.paused;
  }

  stop() {
    clearTimeout(this.timer);
    this.asking?.abort();
    document.removeEventListener("visibilitychange", this.onVisible);
  }
}

// A panel shows an answer that is asked for again and again, or pushed, and says in which state it is: loading, ready, live,
// empty, refused (with the server's words), disconnected, stale or paused.

import { AWAY, Failed, getJson, jsonLines } from "./ask.js";
import { el } from "./dom.js";
import { time, browserZone } from "./format.js";
import { merge, move } from "./live.js";

const RETRY_MAX_MS = 30000;
// A live chart is drawn at most so often, and rests longer than drawing takes.
const DRAW_LEAST_MS = 500;
const DRAW_SHARE = 4;
const POINTS_MAX = 2000;
export class Panel {
  // `path()` is what to ask now, `show(answer, body)` fills the body and returns false if there is nothing to see, `every`
  // is the pause in milliseconds, or a function of the last answer; 0: ask once. `live()` is the path of what is pushed, if
  // anything is: {path, fixed, pixels}. `button`: it has a button that pauses it.
  constructor(title, { path, show, every, empty, live, button }) {
    this.options = { path, show, every, empty, live };
    this.status = el("span", { role: "status" });
    // Changes often, so it is not read out.
    this.when = el("span");
    this.body = el("div", { class: "body" });
    this.button = button ? el("button", { type: "button", click: () => this.setPaused(!this.paused) }, "Pause") : null;
    const line = el("p", { class: "status" }, this.status, this.when, this.button);
    this.node = el("section", { class: "panel", "aria-label": title }, line, this.body);
    this.paused = false;
    this.failures = 0;
    this.asOf = null;
    this.onVisible = () => this.seen();
    document.addEventListener("visibilitychange", this.onVisible);
    this.set("loading", "Loading …");
  }

  set(state, words, when = "") {
    this.node.dataset.state = state;
    this.node.setAttribute("aria-busy", String(state === "loading"));
    if (this.status.textContent !== words) this.status.textContent = words;
    this.when.textContent = when;
  }

  // A page that nobody sees asks nothing, and nothing is pushed to it.
  seen() {
    if (document.hidden && this.pushed) {
      this.halt();
      this.due = true;
    } else if (!document.hidden && this.due) this.ask();
  }

  // Asks now; an earlier question that is not answered yet is given up.
  async ask() {
    this.halt();
    this.due = false;
    const asking = new AbortController();
    this.asking = asking;
    const live = this.paused ? null : this.options.live?.();
    try {
      if (live) await this.follow(live, asking.signal);
      else {
        const answer = await getJson(this.options.path(), asking.signal);
        if (asking.signal.aborted) return;
        this.take(answer);
        this.later(this.pause());
      }
    } catch (error) {
      if (asking.signal.aborted) return;
      this.halt();
      this.fail(error);
    }
  }

  // Shows what is pushed, until it ends.
  async follow(live, signal) {
    this.pushed = live;
    for await (const line of jsonLines(live.path, signal)) {
      if (signal.aborted) return;
      if (line.chart) {
        this.take(line.chart);
        this.tick();
      } else if (line.round) {
        if (this.away) this.failures = 0;
        this.away = null;
        this.asOf = Date.now();
        merge(this.last, line.round);
        this.draw(DRAW_LEAST_MS);
      } else if (line.away) {
        this.away = line.away;
        this.disconnected(line.away);
      } else if (line.poll) {
        this.pushed = null;
        clearTimeout(this.drawing);
        this.ready();
        this.later(this.pause());
        return;
      }
    }
    throw new Failed("disconnected", AWAY);
  }

  take(answer) {
    this.failures = 0;
    this.away = null;
    this.last = answer;
    this.asOf = Date.now();
    this.display();
  }

  display() {
    const begun = performance.now();
    const shown = this.options.show(this.last, this.body);
    this.drawn = performance.now();
    this.took = this.drawn - begun;
    if (this.away) return;
    if (shown === false) this.set("empty", this.options.empty(this.last));
    else this.ready();
  }

  // Draws what was pushed, soon: several rounds at once.
  draw(least) {
    if (this.drawing && least >= this.drawingIn) return;
    clearTimeout(this.drawing);
    const pause = Math.max(0, this.drawn + Math.max(least, this.took * DRAW_SHARE) - performance.now());
    this.drawingIn = least;
    this.drawing = setTimeout(() => {
      this.drawing = 0;
      if (!this.pushed) return;
      // While the aggregator is away, nothing moves.
      if (!this.away) {
        move(this.last, Date.now(), this.pushed.fixed);
        this.display();
      }
      // A range that grows needs a wider step at last.
      if ((this.last.to_ms - this.last.from_ms) / this.last.step_ms > POINTS_MAX) this.ask();
      else this.tick();
    }, pause);
  }

  // Time passes by a pixel, at most once a second.
  tick() {
    const { from_ms: from, to_ms: to } = this.last;
    this.draw(Math.max(1000, (to - from) / this.pushed.pixels));
  }

  ready() {
    const when = `, as of ${this.moment()}`;
    if (this.paused) this.set("paused", "Paused", when);
    else if (this.pushed) this.set("live", "Live", when);
    else this.set("ready", "Up to date", when);
  }

  // When the last answer came.
  moment() {
    return time(Math.floor(this.asOf / 1000) * 1000, browserZone()).slice(11);
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
    this.disconnected(error.message);
    this.schedule(Math.min(RETRY_MAX_MS, 1000 * 2 ** Math.min(this.failures, 5)));
  }

  disconnected(words) {
    const kept = this.last ? ` Stale since ${this.moment()}.` : "";
    this.set(this.last ? "stale" : "disconnected", `Disconnected, retrying: ${words.replace(/^--aggregator /, "")}${/[.?]$/.test(words) ? "" : "."}${kept}`);
  }

  later(pause) {
    if (pause && !this.paused) this.schedule(pause);
  }

  schedule(pause) {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => {
      if (document.hidden) this.due = true;
      else this.ask();
    }, pause);
  }

  // Pauses or continues.
  setPaused(paused) {
    this.paused = paused;
    if (this.button) this.button.textContent = paused ? "Continue" : "Pause";
    if (!paused) {
      this.ask();
      return;
    }
    this.halt();
    this.due = false;
    if (!this.last) this.set("paused", "Paused");
    else if (this.node.dataset.state === "empty") this.set("empty", this.options.empty(this.last), " Paused.");
    else this.ready();
  }

  // Asks nothing any more.
  halt() {
    clearTimeout(this.timer);
    clearTimeout(this.drawing);
    this.drawing = 0;
    this.pushed = null;
    this.away = null;
    this.asking?.abort();
  }

  stop() {
    this.halt();
    document.removeEventListener("visibilitychange", this.onVisible);
  }
}

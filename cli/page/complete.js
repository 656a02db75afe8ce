// Completion of a selector from the aggregator's lists: metrics, label names within braces, values within quotation marks.

import { el } from "./dom.js";
import { getJson } from "./ask.js";
import { shown } from "./format.js";

const MOST = 30;
const TYPING_MS = 150;
const COMBOBOX = {
  role: "combobox",
  "aria-controls": "completions",
  "aria-expanded": "false",
  "aria-autocomplete": "list",
  autocomplete: "off",
  spellcheck: "false",
};

// What stands before the cursor: where the word begins, and where its continuations are listed.
export function context(text, cursor) {
  const before = text.slice(0, cursor);
  const metric = /^\s*([\w:]*)/.exec(text)?.[1] ?? "";
  const open = before.lastIndexOf("{");
  if (open < 0 || before.lastIndexOf("}") > open) {
    const word = /^\s*([\w:]*)$/.exec(before);
    return word && { word: word[1], path: "/api/v1/label/__name__/values", end: (name) => name };
  }
  const match = metric ? `&match[]=${encodeURIComponent(metric)}` : "";
  const value = /(\w+)\s*(?:=|!=|=~|!~)\s*"((?:[^"\\]|\\.)*)$/.exec(before);
  if (value) {
    const end = (name) => `${JSON.stringify(name).slice(1)}`;
    return { word: value[2], path: `/api/v1/label/${value[1]}/values`, match, end };
  }
  const name = /[{,]\s*(\w*)$/.exec(before);
  return name && { word: name[1], path: "/api/v1/labels", match, end: (label) => `${label}="` };
}

// An input with a list of continuations below it (a combobox).
export function completing(input) {
  const list = el("ul", { id: "completions", role: "listbox", "aria-label": "Continuations", hidden: true });
  for (const [name, value] of Object.entries(COMBOBOX)) input.setAttribute(name, value);
  let typing;
  let asking;
  let chosen = -1;
  let at = null;
  let found = [];

  function hide() {
    clearTimeout(typing);
    asking?.abort();
    found = [];
    list.hidden = true;
    input.setAttribute("aria-expanded", "false");
    input.removeAttribute("aria-activedescendant");
  }

  async function complete() {
    at = context(input.value, input.selectionStart);
    asking?.abort();
    if (!at) return hide();
    asking = new AbortController();
    try {
      const answer = await getJson(`${at.path}?limit=1000${at.match ?? ""}`, asking.signal);
      const wanted = at.word.toLowerCase();
      const names = answer.data.filter((name) => name.toLowerCase().includes(wanted) && name !== at.word);
      names.sort((a, b) => b.toLowerCase().startsWith(wanted) - a.toLowerCase().startsWith(wanted));
      found = names.slice(0, MOST);
      chosen = -1;
      show();
    } catch {
      // Without continuations, the selector can still be written.
      hide();
    }
  }

  function show() {
    list.replaceChildren(...found.map((name, index) => el("li", {
      id: `completion-${index}`, role: "option", "aria-selected": String(index === chosen),
      pointerdown: (event) => { event.preventDefault(); take(index); },
    }, shown(name))));
    list.hidden = !found.length;
    input.setAttribute("aria-expanded", String(found.length > 0));
    if (chosen < 0) input.removeAttribute("aria-activedescendant");
    else {
      input.setAttribute("aria-activedescendant", `completion-${chosen}`);
      list.children[chosen]?.scrollIntoView({ block: "nearest" });
    }
  }

  function take(index) {
    const cursor = input.selectionStart;
    const head = input.value.slice(0, cursor - at.word.length) + at.end(found[index]);
    const tail = input.value.slice(cursor).replace(/^"/, head.endsWith('"') ? "" : '"');
    input.value = head + tail;
    input.setSelectionRange(head.length, head.length);
    hide();
  }

  input.addEventListener("input", () => {
    clearTimeout(typing);
    typing = setTimeout(complete, TYPING_MS);
  });
  input.addEventListener("blur", hide);
  input.addEventListener("keydown", (event) => {
    if (event.key === "ArrowDown" && !found.length) {
      event.preventDefault();
      complete();
    } else if (!found.length) return;
    else if (event.key === "ArrowDown" || event.key === "ArrowUp") {
      event.preventDefault();
      const down = event.key === "ArrowDown";
      chosen = chosen < 0 ? (down ? 0 : found.length - 1) : (chosen + (down ? 1 : found.length - 1)) % found.length;
      show();
    } else if ((event.key === "Enter" || event.key === "Tab") && chosen >= 0) {
      event.preventDefault();
      take(chosen);
    } else if (event.key === "Escape") {
      // It closes the list alone: the field keeps the keyboard.
      event.stopPropagation();
      hide();
    }
  });
  return el("span", { class: "combobox" }, input, list);
}

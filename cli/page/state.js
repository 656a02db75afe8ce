// The state of the page is the fragment of its URL, `#VIEW?NAME=VALUE&…`: a link shows the same again.

export const VIEWS = ["fleet", "gateways", "devices", "explore"];

export function read() {
  const [view, query] = location.hash.slice(1).split(/\?(.*)/s);
  const parameters = Object.fromEntries(new URLSearchParams(query ?? ""));
  return { view: VIEWS.includes(view) ? view : "fleet", parameters };
}

export function link(view, parameters) {
  const kept = Object.entries(parameters ?? {}).filter(([, value]) => value !== "" && value !== undefined);
  const query = new URLSearchParams(kept).toString();
  return `#${view}${query ? `?${query}` : ""}`;
}

// Goes to a state: a new entry of the history.
export function go(view, parameters) {
  location.hash = link(view, parameters);
}

// Notes a state in the URL, without an entry of the history and without showing it again.
export function note(view, parameters) {
  history.replaceState(null, "", link(view, parameters));
}

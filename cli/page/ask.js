// Asks the dashboard: JSON, or lines of it as they come.

export const AWAY = "the dashboard does not answer: is its program still running?";

// An answer that did not come.
export class Failed extends Error {
  constructor(kind, words) {
    super(words);
    this.kind = kind;
  }

  // What an answer without success means.
  static async of(answer) {
    const json = await answer.json().catch(() => null);
    const kind = json?.kind ?? (answer.status >= 500 ? "disconnected" : "refused");
    const words = json?.error ?? `the dashboard answers with status ${answer.status}`;
    return new Failed(kind === "forbidden" ? "refused" : kind, words);
  }
}

// The answer at a path of the dashboard.
async function answered(path, signal) {
  try {
    return await fetch(path, { signal, cache: "no-store" });
  } catch (error) {
    if (signal?.aborted) throw error;
    throw new Failed("disconnected", AWAY);
  }
}

// The JSON at a path of the dashboard.
export async function getJson(path, signal) {
  const answer = await answered(path, signal);
  if (!answer.ok) throw await Failed.of(answer);
  try {
    return await answer.json();
  } catch (error) {
    if (signal?.aborted) throw error;
    throw new Failed("disconnected", AWAY);
  }
}

// The lines of JSON at a path of the dashboard, as they come.
export async function* jsonLines(path, signal) {
  const answer = await answered(path, signal);
  if (!answer.ok) throw await Failed.of(answer);
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      rest += value;
      if (!value.includes("\n")) continue;
      const lines = rest.split("\n");
      rest = lines.pop();
      for (const line of lines) yield JSON.parse(line);
    }
  } catch (error) {
    if (signal.aborted || error instanceof SyntaxError) throw error;
    throw new Failed("disconnected", AWAY);
  }
}

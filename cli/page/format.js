// Numbers, times and labels for people.

const formats = new Map();

function format(zone, options) {
  const key = `${zone} ${JSON.stringify(options)}`;
  if (!formats.has(key)) {
    formats.set(key, new Intl.DateTimeFormat("en-GB", { timeZone: zone || "UTC", hourCycle: "h23", ...options }));
  }
  return formats.get(key);
}

const DATE = { year: "numeric", month: "2-digit", day: "2-digit" };
const CLOCK = { hour: "2-digit", minute: "2-digit", second: "2-digit" };

function parts(ms, zone) {
  const list = format(zone, { ...DATE, ...CLOCK }).formatToParts(ms);
  return Object.fromEntries(list.map((part) => [part.type, part.value]));
}

// 2026-11-22 10:00:00 in a zone; milliseconds only if there are any.
export function time(ms, zone) {
  if (ms === null || ms === undefined) return "never";
  const at = parts(ms, zone);
  const rest = ((ms % 1000) + 1000) % 1000;
  const fraction = rest ? `.${String(rest).padStart(3, "0")}` : "";
  return `${at.year}-${at.month}-${at.day} ${at.hour}:${at.minute}:${at.second}${fraction}`;
}

// What an axis says of a tick: no more than differs between ticks that are so far apart.
export function tick(ms, apart, zone) {
  const at = parts(ms, zone);
  if (apart >= 86400000) return `${at.month}-${at.day}`;
  const clock = apart < 60000 ? `${at.hour}:${at.minute}:${at.second}` : `${at.hour}:${at.minute}`;
  return at.hour === "00" && at.minute === "00" && at.second === "00" ? `${at.month}-${at.day}` : clock;
}

// How far the clocks of a zone are ahead of UTC.
export function offset(ms, zone) {
  const at = parts(ms, zone);
  const shown = Date.UTC(at.year, at.month - 1, at.day, at.hour, at.minute, at.second);
  return shown - Math.floor(ms / 1000) * 1000;
}

// A length of time in one unit.
export function span(ms) {
  const seconds = Math.max(0, ms) / 1000;
  if (seconds < 10) return `${seconds.toFixed(1)} s`;
  if (seconds < 120) return `${Math.round(seconds)} s`;
  if (seconds < 7200) return `${Math.round(seconds / 60)} min`;
  if (seconds < 172800) return `${Math.round(seconds / 3600)} h`;
  return `${Math.round(seconds / 86400)} d`;
}

// Characters that show nothing or turn the order of others, as U+202E does, are replaced, as in `catchment query`.
const UNPRINTABLE =
  /[\p{Cc}\xad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\u{e0000}-\u{e007f}]/gu;

// A text that a device chose, to be shown.
export function shown(text) {
  return text.replace(UNPRINTABLE, "\u{fffd}");
}

// The end of a certificate, seen from now.
export function end(ms, now) {
  if (ms === null) return "–";
  const left = ms - now;
  return left > 0 ? `in ${days(left)}` : `ended ${days(-left)} ago`;
}

function days(ms) {
  const count = Math.floor(ms / 86400000);
  return count >= 2 ? `${count} days` : span(ms);
}

// A value with the digits that a person reads; `exact` gives all of them.
export function number(value) {
  if (value === null || value === undefined) return "–";
  if (typeof value === "string") return shown(value);
  if (Array.isArray(value)) return value.map(([state, of]) => `${shown(state)} ${number(of)}`).join(", ");
  if (Number.isInteger(value) && Math.abs(value) < 1e9) return String(value);
  // All digits before the point, if they are known.
  const whole = Math.floor(Math.log10(Math.abs(value))) + 2;
  return String(Number(value.toPrecision(whole <= 16 ? Math.max(6, whole) : 6)));
}

// What an axis says of a value: as many digits as tell two marks apart, if there is room for them.
export function mark(value, apart) {
  if (value && (Math.abs(value) >= 1e7 || apart < 1e-5)) {
    const digits = Math.min(16, Math.max(1, Math.ceil(Math.log10(Math.abs(value) / apart)) + 1));
    // By the length before zeros go, so that all marks of an axis have one form.
    const long = value.toExponential(digits - 1).length;
    if (apart >= 1 && Math.abs(value) < 1e15 && value.toFixed(0).length <= long) return value.toFixed(0);
    return Number(value.toPrecision(digits)).toExponential().replace("+", "");
  }
  return value.toFixed(Math.min(6, Math.max(0, -Math.floor(Math.log10(apart)))));
}

export function exact(value) {
  if (value === null || value === undefined) return "";
  if (Array.isArray(value)) return value.map(([state, of]) => `${state}=${of}`).join(" ");
  return String(value);
}

// The labels of a series in one line.
export function labels(of) {
  const list = Object.entries(of);
  return list.length ? list.map(([name, value]) => `${name}=${shown(value)}`).join(" ") : "all selected";
}

export function browserZone() {
  return Intl.DateTimeFormat().resolvedOptions().timeZone || "UTC";
}

// Scales and their ticks.

import { offset } from "./format.js";

const SECOND = 1000;
const MINUTE = 60 * SECOND;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;
const TIMES = [1, 2, 5, 10, 15, 30].map((n) => n * SECOND)
  .concat([1, 2, 5, 10, 15, 30].map((n) => n * MINUTE), [1, 2, 3, 6, 12].map((n) => n * HOUR),
    [1, 2, 7, 14, 28, 91, 182, 365, 730, 3650].map((n) => n * DAY));

// Round values between two numbers, and how far they are apart.
export function ticks(low, high, most) {
  const raw = high / Math.max(1, most) - low / Math.max(1, most);
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 5, 10].map((n) => n * power).find((width) => width >= raw) ?? raw;
  const list = [];
  for (let n = Math.ceil(low / step); n * step <= high && list.length < 50; n += 1) list.push(n * step);
  return { list, apart: step };
}

// Round times of a zone between two times, and how far they are apart.
export function timeTicks(from, to, most, zone) {
  const raw = (to - from) / Math.max(1, most);
  const apart = TIMES.find((width) => width >= raw) ?? TIMES.at(-1);
  const ahead = offset(from, zone);
  const list = [];
  for (let local = Math.ceil((from + ahead) / apart) * apart; list.length < 50; local += apart) {
    // The clocks may have been changed since.
    const at = local - offset(local - ahead, zone);
    if (at >= to) break;
    list.push(at);
  }
  return { list, apart };
}

// The least and the greatest number, with a margin; a flat line is in the middle.
export function extent(columns) {
  let low = Infinity;
  let high = -Infinity;
  for (const column of columns) {
    for (const value of column) {
      if (typeof value !== "number") continue;
      if (value < low) low = value;
      if (value > high) high = value;
    }
  }
  if (low > high) return null;
  // Of halves: the difference of two numbers may be none.
  const margin = (high / 2 - low / 2) * 0.1 || Math.abs(high) * 0.05 || 1;
  return [Math.max(-Number.MAX_VALUE, low - margin), Math.min(Number.MAX_VALUE, high + margin)];
}

// Runs of points that follow one another: gaps stay empty.
export function runs(starts, step, there) {
  const list = [];
  let run = null;
  starts.forEach((start, index) => {
    if (!there(index)) {
      run = null;
      return;
    }
    if (!run || start - starts[index - 1] > step * 1.5) {
      run = [];
      list.push(run);
    }
    run.push(index);
  });
  return list;
}

// The index of the number in a sorted list that is nearest to another.
export function nearest(list, wanted) {
  let low = 0;
  let high = list.length - 1;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (list[middle] < wanted) low = middle + 1;
    else high = middle;
  }
  return low > 0 && wanted - list[low - 1] <= list[low] - wanted ? low - 1 : low;
}

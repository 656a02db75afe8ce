#!/usr/bin/env python3
"""Makes readings.csv and expected.csv: readings, and what other programs compute from them.

    make_reference.py --prometheus prometheus --promtool promtool [--recorded NAB]

NumPy, SciPy and pandas must be importable; Prometheus is started on loopback, over a folder that promtool fills. The
files hold the versions that made them. The same versions give the same bytes. The recorded cases come from the Numenta
Anomaly Benchmark (folder `data/` of its repository); without --recorded they are kept as they are in readings.csv.

readings.csv: case (empty: that of the row before), time in ms after the epoch 1,700,000,000 (Unix seconds, a multiple
of 10), value. `true` and `false` are a number, 1 or 0, and a state; any other text is a state.

expected.csv: case, figure, argument, start and end of the range in seconds after the epoch, value; `none`: undefined. A
range is [start, end), of whole windows of 10 s. Several numbers in one field are separated by blanks.

* Figures of the values: NumPy and SciPy. Each is checked here against exact fractions (1e-13 relative). Moments are
  computed in `longdouble` (x87: 64 bits), from the values less the first one where that subtraction is exact: it
  changes no moment, and spares SciPy the cancellation. Quantiles are `numpy.quantile(method="lower")`.
* Figures over time: NumPy, from the first to the last reading in the range. `integral` is the sum of v[i] * (t[i+1] -
  t[i]), `integral_linear` the trapezoidal rule; a mean is the integral divided by that time. `time_above` and
  `time_below`: the time of the readings above or below a bound, each until the next one.
* increase, rate, delta, resets, changes: Prometheus, evaluated at the end of the range. Prometheus 2.42 selects a
  *closed* interval, so these cases have no reading at a multiple of 10 s (checked): then [start, end] and [start, end)
  hold the same readings. They were not shifted, so Prometheus extrapolates to exactly `start` and `end`.
* Of several series (`a+b`): values are taken together. Integrals, times and numbers of transitions are sums over the
  series, and a mean over time is the sum of the integrals by the sum of the times. Prometheus' figures are its `sum`.
* Figures of states: a loop over the readings. A state holds until the next state; the time is from the first to the
  last state in the range.
"""

import argparse
import csv
import json
import math
import pathlib
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request
from fractions import Fraction
from itertools import pairwise

import numpy as np
import pandas as pd
import scipy
from scipy import stats

HERE = pathlib.Path(__file__).parent
EPOCH = 1_700_000_000
WINDOW = 10
PROMETHEUS = ["increase", "rate", "delta", "resets", "changes"]
QUANTILES = [0, 0.01, 0.1, 0.25, 0.5, 0.75, 0.9, 0.99, 1]
STATES = {"bool", "mode", "mixed", "sparse_states", "busy_states", "many_states"}
# Readings at multiples of 10 s, or without numbers.
# Series whose figures are summed, or whose values are taken together.
GROUPS = [
    ("counter", "resets", "near_zero", "one"),
    ("two", "two_windows", "thin_counter", "fractions"),
    ("machine", "traffic", "dense"),
    ("bool", "mixed"),
]
NOT_PROMETHEUS = {"regular", "mode", "sparse_states", "busy_states", "many_states"}
RECORDED = {
    "machine": ("realKnownCause/machine_temperature_system_failure.csv", 3900, 180),
    "traffic": ("realTraffic/speed_7578.csv", 60, 170),
    "requests": ("realAWSCloudwatch/elb_request_count_8c0756.csv", 100, 150),
}


def rng(case):
    """Random numbers of a case; other cases do not change them."""
    return np.random.Generator(np.random.PCG64([14, *case.encode()]))


def regular(seconds, step_ms, offset_ms=0):
    return np.arange(offset_ms, seconds * 1000, step_ms)


def jittered(case, seconds, step_ms, jitter_ms):
    """Times around a regular grid, rising, none at a multiple of 10 s."""
    times = regular(seconds, step_ms, step_ms // 2)
    times = times + rng(case + " times").integers(-jitter_ms, jitter_ms + 1, times.size)
    times[times % (WINDOW * 1000) == 0] += 1
    return np.unique(times)


def random_walk(case, count, mean, deviation, decimals, pull=0.9):
    """An autoregressive process, as of a temperature."""
    values, value = [], 0.0
    for shock in rng(case).normal(0, deviation * math.sqrt(1 - pull * pull), count):
        value = pull * value + shock
        values.append(round(mean + value, decimals))
    return values


def counter(case, count, mean, start=0, resets=()):
    """Events counted; at the indices of `resets` the count begins anew with that reading's events."""
    total, values = start, []
    for index, events in enumerate(rng(case).poisson(mean, count)):
        total = int(events) if index in resets else total + int(events)
        values.append(total)
    return values


def gauges():
    """Cases of gauges: name, times, values."""
    times = regular(120, 1000)
    yield "regular", times, random_walk("regular", times.size, 21.5, 0.8, 2)
    times = regular(180, 1000, 137)
    yield "offset", times, random_walk("offset", times.size, 1013.25, 1.5, 2)
    times = jittered("jitter", 120, 1000, 400)
    yield "jitter", times, random_walk("jitter", times.size, 48.0, 5.0, 1)
    times = jittered("outliers", 120, 1000, 300)
    values = np.array(random_walk("outliers", times.size, 20.0, 0.5, 2))
    values[[17, 58, 59, 101]] = [985.0, -4000.5, 1e6, 12345.678]
    yield "outliers", times, values
    times = regular(100, 2000, 501)
    yield "constant", times, [42.5] * times.size
    times = jittered("negatives", 100, 1000, 450)
    yield "negatives", times, random_walk("negatives", times.size, -3.0, 4.0, 1)
    times = jittered("single_precision", 100, 1000, 100)
    values = np.array(random_walk("single_precision", times.size, 0.3, 0.1, 6), dtype=np.float32)
    yield "single_precision", times, values.astype(np.float64)
    times = regular(60, 58, 7)
    yield "dense", times, np.round(rng("dense").lognormal(3, 0.8, times.size), 2)
    times = jittered("large", 100, 1000, 200)
    yield "large", times, 1e9 + rng("large").integers(0, 64, times.size) / 2**16
    times = regular(40, 150, 11)
    yield "large_dense", times, 1e9 + rng("large_dense").gamma(2, 200, times.size).round() / 2**18
    times = jittered("thin", 300, 16_000, 7_000)
    yield "thin", times, random_walk("thin", times.size, 230.0, 2.0, 1)
    times = jittered("few_values", 120, 700, 200)
    yield "few_values", times, rng("few_values").choice([0.0, 0.5, 1.0, 2.5, 17.0], times.size)
    times = jittered("gaps", 240, 1000, 300)
    times = times[((times < 40_000) | (times > 104_000)) & ((times < 150_000) | (times > 171_500))]
    yield "gaps", times, random_walk("gaps", times.size, 65.0, 3.0, 2)
    times = regular(30, 100, 53)
    yield "wide", times, [float(f"{v:.6g}") for v in 10.0 ** rng("wide").uniform(-6, 12, times.size)]


def counters():
    """Cases of counters."""
    times = regular(180, 1000, 137)
    yield "counter", times, counter("counter", times.size, 40, start=5_000_000)
    times = jittered("resets", 180, 1000, 350)
    yield "resets", times, counter("resets", times.size, 12, 900, {19, 20, 64, 110, 111, 112})
    times = jittered("near_zero", 60, 2500, 600)
    yield "near_zero", times, counter("near_zero", times.size, 3, 1)
    times = jittered("thin_counter", 300, 14_000, 6_000)
    yield "thin_counter", times, counter("thin_counter", times.size, 900, 70, {9})
    times = jittered("counter_gaps", 240, 1000, 200)
    times = times[(times < 53_000) | (times > 131_000)]
    yield "counter_gaps", times, counter("counter_gaps", times.size, 7, 10, {60})
    times = regular(25, 40, 13)
    yield "dense_counter", times, counter("dense_counter", times.size, 2, 100, {150, 151, 400})
    times = jittered("fractions", 100, 1000, 250)
    rises = rng("fractions").exponential(0.25, times.size).round(3)
    yield "fractions", times, np.cumsum(rises).round(3)
    yield "two", [1_234, 8_765], [10.0, 13.0]
    yield "two_windows", [4_321, 18_001], [500.0, 20.0]
    yield "one", [3_333], [7.25]


def states():
    """Cases of states, some with numbers beside them."""
    times = jittered("bool", 120, 1500, 600)
    yield "bool", times, rng("bool").choice(["true", "false"], times.size, p=[0.7, 0.3])
    times = jittered("mode", 180, 2000, 900)
    yield "mode", times, rng("mode").choice(["auto", "manual", "off", "Störung"], times.size, p=[0.6, 0.2, 0.15, 0.05])
    times = jittered("mixed", 100, 1000, 300)
    numbers = random_walk("mixed", times.size, 5.0, 1.0, 1)
    texts = rng("mixed texts").choice(["open", "closed", ""], times.size, p=[0.15, 0.15, 0.7])
    yield "mixed", times, [text or number for text, number in zip(texts, numbers, strict=True)]
    times = jittered("sparse_states", 300, 23_000, 9_000)
    yield "sparse_states", times, rng("sparse_states").choice(["charging", "idle", "driving"], times.size)
    times = regular(30, 100, 3)
    yield (
        "busy_states",
        times,
        np.repeat(rng("busy_states").choice(["run", "wait", "stop"], times.size), 2)[: times.size],
    )
    times = regular(60, 330, 111)
    yield "many_states", times, [f"step {number}" for number in rng("many_states").integers(0, 25, times.size)]


def recorded(folder):
    """Cases recorded in the field, 300 times as fast: traffic has gaps, requests are added up to a counter."""
    for case, (name, start, count) in RECORDED.items():
        if folder is None:
            rows = pd.read_csv(HERE / "readings.csv", na_values=[""], keep_default_na=False)
            rows = rows[rows["case"].ffill() == case]
            times, values = rows["time_ms"], rows["value"].astype(float)
        else:
            data = pd.read_csv(folder / "data" / name, parse_dates=["timestamp"]).iloc[start : start + count]
            data = data.drop_duplicates("timestamp").sort_values("timestamp")
            seconds = (data["timestamp"] - data["timestamp"].iloc[0]).dt.total_seconds()
            times = (seconds * 1000 / 300).round().astype(int) + 413
            values = data["value"].cumsum() if case == "requests" else data["value"]
        yield case, times, values


def written(value):
    """A number as it is written: the shortest text that gives it back."""
    if isinstance(value, str):
        return value
    value = float(value)
    return str(int(value)) if value.is_integer() and abs(value) < 1e15 else repr(value)


def several(values):
    return " ".join(map(written, values))


def all_cases(folder):
    """{case: [(time in ms, value or state)]}"""
    found = {}
    for case, times, values in [*gauges(), *counters(), *recorded(folder), *states()]:
        values = [str(value) if isinstance(value, str) else float(value) for value in values]
        readings = list(zip(map(int, times), values, strict=True))
        assert all(a[0] < b[0] for a, b in pairwise(readings)), case
        assert case not in found
        found[case] = readings
    return found


def as_number(value):
    return {"true": 1.0, "false": 0.0}.get(value) if isinstance(value, str) else value


def numbers_of(readings):
    return [(t, as_number(v)) for t, v in readings if as_number(v) is not None]


def states_of(readings):
    return [(t, v) for t, v in readings if isinstance(v, str)]


def within(readings, start, end):
    return [(t, v) for t, v in readings if start * 1000 <= t < end * 1000]


def whole(readings):
    """The range of whole windows that holds all readings."""
    return 0, (readings[-1][0] // 1000 // WINDOW + 1) * WINDOW


def ranges(case, readings):
    """Ranges for which figures are expected: everything, some windows, and some longer ones."""
    end = whole(readings)[1]
    chosen = [(0, end)]
    windows = end // WINDOW
    for length, count in [(1, 3), (3, 2), (6, 2)]:
        starts = np.arange(0, windows - length + 1)
        if length < windows and starts.size:
            picked = rng(f"{case} {length}").choice(starts, min(count, starts.size), replace=False)
            chosen += [(int(start) * WINDOW, int(start + length) * WINDOW) for start in sorted(picked)]
    return chosen


def close(value, truth, tolerance=1e-13):
    return abs(Fraction(value) - truth) <= tolerance * abs(truth) + Fraction(1, 10**300)


def root(value):
    """The square root of a fraction, to some 40 digits."""
    scale = 10**80
    return Fraction(math.isqrt(value.numerator * scale // value.denominator), 10**40)


def moments(values):
    """Mean, variances, skewness and kurtosis by NumPy and SciPy, checked against fractions."""
    exact = [Fraction(value) for value in values]
    shifted = np.array(values, dtype=np.longdouble) - values[0]
    if any(
        Fraction(*difference.as_integer_ratio()) != value - exact[0]
        for difference, value in zip(shifted, exact, strict=True)
    ):
        shifted = np.array(values, dtype=np.longdouble)
    n, mean = len(values), sum(exact) / len(exact)
    second, third, fourth = (sum((value - mean) ** power for value in exact) / n for power in (2, 3, 4))
    yield "mean", math.fsum(values) / n, mean
    yield "variance", np.var(shifted), second
    yield "sample_variance", np.var(shifted, ddof=1) if n > 1 else None, second * n / (n - 1) if n > 1 else None
    known = n > 1 and second != 0
    yield "skewness", stats.skew(shifted, bias=True) if known else None, known and third / second / root(second)
    yield (
        "kurtosis",
        stats.kurtosis(shifted, fisher=True, bias=True) if known else None,
        known and fourth / second**2 - 3,
    )


def bounds_of(values):
    """Bounds for counts: two readings, and two values between readings."""
    low, high = np.quantile(values, [0.2, 0.7], method="lower")
    middle = (min(values) + float(np.median(values))) / 2
    return sorted({float(low), float(high), float(f"{middle:.6g}"), float(f"{low + (high - low) / 3:.9g}")})


def value_figures(numbers):
    """(figure, argument, value) of the values, whatever their order."""
    values = [value for _, value in numbers]
    if not values:
        return
    for figure, value, truth in moments(values):
        value = None if value is None else float(value)
        assert value is None or close(value, truth), (figure, value, float(truth))
        yield figure, "", value
    yield "quantiles", several(QUANTILES), several(np.quantile(values, QUANTILES, method="lower"))
    for cut in (0.1, 0.25):
        yield "trimmed_mean", cut, stats.trim_mean(values, cut)
    bounds = bounds_of(values)
    for bound in bounds[::2]:
        yield "below", bound, np.count_nonzero(np.array(values) < bound)
    counts, _ = np.histogram(values, [-math.inf, *bounds, math.inf])
    yield "histogram", several(bounds), several(counts)


def time_figures(numbers, bounds=None):
    """(figure, argument, value) of the course of the values over time."""
    if len(numbers) < 2:
        return
    ms, values = (np.array(column, dtype=float) for column in zip(*numbers, strict=True))
    seconds = np.diff(ms) / 1000
    exact = [(Fraction(b[0] - a[0], 1000), Fraction(a[1]), Fraction(b[1])) for a, b in pairwise(numbers)]
    step, truth = np.sum(values[:-1] * seconds), sum(t * a for t, a, _ in exact)
    linear, linear_truth = np.trapezoid(values, ms) / 1000, sum(t * (a + b) / 2 for t, a, b in exact)
    assert close(step, truth) and close(linear, linear_truth), (step, float(truth), linear, float(linear_truth))
    yield "integral", "", float(step)
    yield "integral_linear", "", float(linear)
    yield "covered", "", (ms[-1] - ms[0]) / 1000
    for bound in bounds_of(values)[1:3] if bounds is None else bounds:
        yield "time_above", bound, np.sum(np.diff(ms)[values[:-1] > bound]) / 1000
        yield "time_below", bound, np.sum(np.diff(ms)[values[:-1] < bound]) / 1000


def with_means(rows):
    """Replaces the time between readings by the means that it gives."""
    figures = {figure: value for figure, _, value in rows}
    if covered := figures.get("covered"):
        for suffix in ("", "_linear"):
            yield "time_weighted_mean" + suffix, "", figures["integral" + suffix] / covered
    yield from (row for row in rows if row[0] != "covered")


def summed(rows):
    """The sums of figures with the same name and argument."""
    sums = {}
    for figure, argument, value in rows:
        sums[figure, argument] = sums.get((figure, argument), 0) + value
    return [(figure, argument, value) for (figure, argument), value in sums.items()]


def state_figures(states):
    """(figure, argument, value) of the states."""
    yield "state_count", "", len(states)
    if not states:
        yield "last_state", "", None
        return
    times, transitions = {}, 0
    for (t, state), (later, following) in pairwise(states):
        times[state] = times.get(state, 0) + later - t
        transitions += state != following
    times.setdefault(states[-1][1], 0)
    for state in sorted(times, key=lambda state: state.encode()):
        yield "time_in", state, times[state] / 1000
    yield "transitions", "", transitions
    yield "last_state", "", states[-1][1]


class Prometheus:
    """A Prometheus over a folder of blocks, on loopback."""

    def __init__(self, program, promtool, cases, folder):
        data = pathlib.Path(folder) / "data"
        metrics = pathlib.Path(folder) / "metrics"
        with open(metrics, "w", encoding="utf-8") as file:
            print("# TYPE m gauge", file=file)
            for case, readings in cases.items():
                for t, value in numbers_of(readings):
                    assert t % (WINDOW * 1000) != 0, (case, t)
                    # promtool cuts fractions of a millisecond off; the .4 keeps it from cutting a whole one.
                    ms = EPOCH * 1000 + t
                    print(f'm{{case="{case}"}} {value!r} {ms // 1000}.{ms % 1000:03}4', file=file)
            print("# EOF", file=file)
        subprocess.run(
            [promtool, "tsdb", "create-blocks-from", "openmetrics", metrics, data],
            check=True,
            stdout=subprocess.DEVNULL,
        )
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.address = f"127.0.0.1:{free.getsockname()[1]}"
        options = [
            "--config.file=/dev/null",
            f"--web.listen-address={self.address}",
            "--storage.tsdb.retention.time=100y",
        ]
        self.process = subprocess.Popen(
            [program, *options, f"--storage.tsdb.path={data}"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        self.wait()
        for case, readings in cases.items():
            assert self.samples(case, whole(readings)[1]) == numbers_of(readings), case

    def wait(self):
        for _ in range(100):
            try:
                with urllib.request.urlopen(f"http://{self.address}/-/ready") as answer:
                    if answer.status == 200:
                        return
            except urllib.error.URLError:
                pass
            time.sleep(0.1)
        raise SystemExit("Prometheus does not start")

    def query(self, text, end):
        parameters = urllib.parse.urlencode({"query": text, "time": EPOCH + end})
        with urllib.request.urlopen(f"http://{self.address}/api/v1/query?{parameters}") as answer:
            return json.load(answer)["data"]["result"]

    def samples(self, case, end):
        (series,) = self.query(f'm{{case="{case}"}}[{end}s]', end)
        return [(round(t * 1000) - EPOCH * 1000, float(value)) for t, value in series["values"]]

    def figures(self, cases, start, end):
        for figure in PROMETHEUS:
            result = self.query(f'sum({figure}(m{{case=~"{"|".join(cases)}"}}[{end - start}s]))', end)
            yield figure, "", float(result[0]["value"][1]) if result else None

    def stop(self):
        self.process.terminate()
        self.process.wait()


def expectations(case, readings, prometheus):
    """The rows of expected.csv of one case."""
    for index, (start, end) in enumerate(ranges(case, readings)):
        inside = within(readings, start, end)
        numbers, states = numbers_of(inside), states_of(inside)
        rows = []
        if index in (0, 2, 5):
            # Without numbers, the states are counted.
            distinct = np.unique([v for _, v in numbers or states])
            rows += [*value_figures(numbers), ("distinct", "", distinct.size), *with_means([*time_figures(numbers)])]
        if case not in NOT_PROMETHEUS:
            rows += [*prometheus.figures([case], start, end)]
        if case in STATES:
            rows += [*state_figures(states)]
        yield from ((case, figure, argument, start, end, value) for figure, argument, value in rows)


def group_expectations(group, cases, prometheus):
    """The rows of expected.csv of several series."""
    ends = [whole(cases[case])[1] for case in group]
    for start, end in dict.fromkeys([(0, max(ends)), (0, min(ends)), (0, 10), (30, 60)]):
        inside = [within(cases[case], start, end) for case in group]
        numbers = [numbers_of(readings) for readings in inside]
        together = [reading for readings in numbers for reading in readings]
        bounds = bounds_of([value for _, value in together])[:1]
        distinct = np.unique([value for _, value in together])
        over_time = [row for readings in numbers for row in time_figures(readings, bounds)]
        states = [row for readings in inside for row in state_figures(states_of(readings)) if row[0] != "last_state"]
        rows = [*value_figures(together), ("distinct", "", distinct.size)] if end == max(ends) else []
        rows += [
            *with_means(summed(over_time)),
            *prometheus.figures(group, start, end),
            *summed(states if set(group) <= STATES else []),
        ]
        yield from (("+".join(group), figure, argument, start, end, value) for figure, argument, value in rows)


def version(program):
    output = subprocess.run([program, "--version"], check=True, capture_output=True, text=True).stdout
    return output.split()[2]


def write(name, header, rows):
    def text(field):
        return field if isinstance(field, str) else "none" if field is None else written(field)

    with open(HERE / name, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(map(text, row) for row in rows)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--prometheus", default="prometheus")
    parser.add_argument("--promtool", default="promtool")
    parser.add_argument("--recorded", type=pathlib.Path)
    options = parser.parse_args()
    cases = all_cases(options.recorded)
    with tempfile.TemporaryDirectory() as folder:
        asked = {case: readings for case, readings in cases.items() if case not in NOT_PROMETHEUS}
        prometheus = Prometheus(options.prometheus, options.promtool, asked, folder)
        try:
            expected = [row for case in cases for row in expectations(case, cases[case], prometheus)]
            expected += [row for group in GROUPS for row in group_expectations(group, cases, prometheus)]
        finally:
            prometheus.stop()
    versions = f"NumPy {np.__version__}, SciPy {scipy.__version__}, Prometheus {version(options.prometheus)}"
    rows = (("" if i else c, t, v) for c in cases for i, (t, v) in enumerate(cases[c]))
    write("readings.csv", ["case", "time_ms", "value"], rows)
    write("expected.csv", ["case", "figure", "argument", "start", "end", f"value ({versions})"], expected)
    print(f"{sum(map(len, cases.values()))} readings of {len(cases)} cases, {len(expected)} figures; {versions}")


main()

"""Measures how long a million points take to pandas: real programs, mutual TLS, one process each.

    CATCHMENT_BIN=target/release python3 clients/python/tests/speed.py [--series 100] [--points 10000] [--runs 7]

Sends one reading to each window, waits until all are stored, and prints the times of ``query(…).to_pandas()``.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path

FOLDER = Path(__file__).resolve().parent
sys.path[:0] = [str(FOLDER), str(FOLDER.parent / "src")]

import catchment
from catchment_device import Device
from test_real import System


def stored(client: catchment.Client, start: int, end: int) -> int:
    table = client.query('{__name__=~"m_.*"}', start=start, end=end, agg="count").to_arrow()
    return int(table.column("count")[0].as_py()) if table.num_rows else 0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--series", type=int, default=100)
    parser.add_argument("--points", type=int, default=10_000)
    parser.add_argument("--runs", type=int, default=7)
    asked = parser.parse_args()
    rows = asked.series * asked.points
    with tempfile.TemporaryDirectory() as folder:
        system = System(Path(os.environ["CATCHMENT_BIN"]).resolve(), Path(folder))
        try:
            end = int(time.time()) - 3_600
            start = end - asked.points
            with Device(system.gateway, system.device, when_full="block", block_timeout=None) as device:
                for at in range(asked.points):
                    readings = {f"m_{number}": at + number / 7 for number in range(asked.series)}
                    device.send(readings, ts=(start + at) * 1000)
            client = catchment.connect(f"https://{system.aggregator}", identity=system.folder / "pki/operator/ada")
            while (count := stored(client, start, end)) < rows:
                print(f"{count:,} of {rows:,} readings are stored", flush=True)
                time.sleep(1)
            times = []
            for _ in range(asked.runs):
                began = time.perf_counter()
                table = client.query(
                    '{__name__=~"m_.*"}', start=start, end=end, step="1s", by="__name__", agg=["count", "mean"]
                )
                arrived = time.perf_counter()
                frame = table.to_pandas()
                times.append((time.perf_counter() - began, arrived - began))
                assert len(frame) == rows, f"{len(frame)} points"
                assert frame["count"].sum() == rows
            whole, fetched = sorted(times)[len(times) // 2]
            best = min(times)[0]
            print(f"{rows:,} points to pandas: median {whole:.3f} s ({fetched:.3f} s to Arrow), best {best:.3f} s")
        finally:
            system.end()


if __name__ == "__main__":
    main()

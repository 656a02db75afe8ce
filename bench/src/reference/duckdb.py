"""Raw readings in DuckDB, and a query over them: warm, two threads. Prints seconds and rows."""

import sys
import time

import duckdb

file, history, query, repeat = sys.argv[1:5]
connection = duckdb.connect(file, config={"threads": 2})
if history:
    connection.execute(f"CREATE TABLE readings AS {history} ORDER BY device, metric, time")
    connection.execute("CHECKPOINT")
best = float("inf")
rows = []
for _ in range(int(repeat)):
    started = time.perf_counter()
    rows = connection.execute(query).fetchall() if query else []
    best = min(best, time.perf_counter() - started)
print(best, len(rows), sum(float(row[-1]) for row in rows))

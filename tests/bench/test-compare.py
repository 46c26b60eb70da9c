#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""What is made of numbers: ratios round by round, aims, and what has got worse; and of a reader who leaves. The numbers are
made up."""

import contextlib
import copy
import io
import os
import signal
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.dirname(os.path.realpath(__file__)))

import report  # pylint: disable=wrong-import-position
import rows as what  # pylint: disable=wrong-import-position

FLOOR, BROKER = "floor/daemon/map/2M", "broker/daemon/map/2M"
checks = []


def check(title, holds):
    checks.append(bool(holds))
    print(f"{'' if holds else 'not '}ok {len(checks)} {title}")


def measured(values, **trouble):
    """Results with these rounds of some rows."""
    results = {}
    for row in what.all_rows():
        if row.name in values:
            results[row.name] = report.Result(row)
            results[row.name].rounds = [[value] * 3 for value in values[row.name]]
        if row.name in trouble.get("failed", ()):
            results[row.name] = report.Result(row)
            results[row.name].failed = "it broke"
    return report.summarize(results, {"cpu": "made up", "cpus": 1, "kernel": "0", "load": 0}, 3)


def compare(old, new):
    output = io.StringIO()
    with contextlib.redirect_stdout(output):
        status = report.compare(old, new)
    return status, output.getvalue()


every_row = [*what.all_rows(), *what.final_rows(), *what.guest_rows()]
names = [row.name for row in every_row]
check("no two rows have one name", len(names) == len(set(names)))
check("every base is a row", all(row.base in ("", *names) for row in every_row))
check("every aim is about rows", all(name in names for aim in what.AIMS for name in (aim.row, *aim.parts)))
check("every row's world is there", all(row.world in (*what.WORLDS, "cleaning", "guest") for row in every_row))

# The machine is slower from round to round, and the ratio is the same.
steady = measured({"unit": [5, 5, 5], FLOOR: [50, 100, 200], BROKER: [60, 120, 240]})
ratio = steady["rows"][BROKER]
check("ratios are those of rounds", abs(ratio["ratio"] - 1.2) < 1e-9 and abs(ratio["high"] - ratio["low"]) < 1e-9)
check("the median is that of all samples", ratio["median"] == 120)
check("an aim is met", [aim["met"] for aim in steady["aims"] if aim["row"] == BROKER] == [True])

worse = measured({"unit": [5, 5, 5], FLOOR: [50, 100, 200], BROKER: [90, 180, 360]})
check("an aim is not met", [aim["met"] for aim in worse["aims"] if aim["row"] == BROKER] == [False])
status, text = compare(steady, worse)
check("what got worse is found", status == 1 and "1 worse" in text and BROKER in text)
status, text = compare(worse, steady)
check("what got better is no regression", status == 0 and "1 better" in text)
check("the same is the same", compare(steady, copy.deepcopy(steady))[0] == 0)

slower = measured({"unit": [15, 15, 15], FLOOR: [150, 300, 600], BROKER: [180, 360, 720]})
check("a slower machine is no regression", compare(steady, slower)[0] == 0)
wide = measured({"unit": [5, 5, 5], FLOOR: [100, 100, 100], BROKER: [110, 150, 160]})
check("neither is what the rounds differ by",
      compare(measured({"unit": [5, 5, 5], FLOOR: [100, 100, 100], BROKER: [100, 120, 170]}), wide)[0] == 0)
status, text = compare(steady, measured({"unit": [5, 5, 5], FLOOR: [50, 100, 200]}, failed=[BROKER]))
check("what fails by now is found", status == 1 and "it broke" in text)
check("nothing in common is no success", compare(steady, measured({"unit": [5, 5, 5]}))[0] == 1)

with tempfile.TemporaryDirectory() as folder:
    results = measured({"unit": [5], "clients/floor/daemon/1": [10], "clients/floor/daemon/16": [20],
                        "live/allocate/10": [5], "live/allocate/1000": [6], "own/memfd/2M": [100], "own/memfd/4K": [1]})
    report.plot(results, folder)
    found = sorted(os.listdir(folder))
    if found:
        check("the plots are there",
              found == sorted(f"{name}.{ending}" for name in report.PLOTS for ending in ("svg", "png")))

here = os.path.dirname(os.path.realpath(__file__))
with open(os.path.join(here, "../../docs/performance.md"), encoding="utf-8") as page:
    explained = page.read()
check("every kind of row is in docs/performance.md",
      all(f"`{row.group}/" in explained for row in every_row if row.name != "unit"))

conduct = os.path.join(here, "conduct")
for title, arguments, words in (
        ("what to compare with has to be said", ["--with", __file__], b"needs --compare"),
        ("no rounds are a mistake", ["--rounds", "0"], b"at least 1"),
        ("what is no result is not compared with", ["--compare", __file__], b"is not the results.json")):
    run = subprocess.run([conduct, *arguments, "--list"], capture_output=True, check=False)
    check(title, run.returncode != 0 and words in run.stderr and b"Traceback" not in run.stderr)
unread, pipe = os.pipe()
os.close(unread)
run = subprocess.run([conduct, "--list"], stdout=pipe, stderr=subprocess.PIPE, check=False)
check("a list that nobody reads ends quietly", (run.returncode, run.stderr) == (128 + signal.SIGPIPE, b""))

print(f"1..{len(checks)}")
sys.exit(not all(checks))

# SPDX-License-Identifier: MIT
"""What came of it: numbers, ratios, aims, a table, a comparison with an earlier run, plots."""

import json
import os
import re
import statistics
import subprocess
import sys

import rows as what

# A ratio that grows by less may be the machine's mood.
TOLERANCE = 0.10
VERSION = 1


class Result:
    """What the rounds of one row have brought."""

    def __init__(self, row):
        self.row = row
        self.rounds = []  # lists of samples
        self.skipped = self.failed = ""

    @property
    def trouble(self):
        return self.skipped or self.failed

    def medians(self):
        return [statistics.median(samples) for samples in self.rounds]


def quantile(values, part):
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(part * len(ordered)))]


def ratios(result, bases):
    """Round by round, because what the machine does meanwhile meets all rows of a round. Sorted."""
    columns = [base.medians() for base in bases]
    return sorted(value / total for value, total in
                  zip(result.medians(), (sum(column) for column in zip(*columns)) if columns else ()) if total > 0)


def spread(values):
    return {"ratio": statistics.median(values), "low": quantile(values, 0.25), "high": quantile(values, 0.75)}


def summarize(results, machine, rounds):
    rows = {}
    for name, result in results.items():
        row = rows[name] = {"title": result.row.title, "unit": result.row.unit, "base": result.row.base}
        if result.failed:
            row["failed"] = result.failed
        elif result.trouble or not result.rounds:
            row["skipped"] = result.skipped or "was not measured"
        else:
            samples = [sample for samples in result.rounds for sample in samples]
            row |= {"median": statistics.median(samples), "p99": quantile(samples, 0.99), "samples": len(samples)}
            base = results.get(result.row.base)
            if base and not base.trouble and base is not result:
                row |= spread(ratios(result, [base]))
    return {"version": VERSION, "machine": machine, "rounds": rounds, "rows": rows, "aims": list(judge(results))}


def judge(results):
    for aim in what.AIMS:
        involved = [results.get(name) for name in (aim.row, *aim.parts)]
        if None in involved:
            continue
        entry = {"aim": aim.text, "row": aim.row, "against": list(aim.parts), "most": aim.most, "least": aim.least}
        trouble = next((result.trouble for result in involved if result.trouble or not result.rounds), None)
        if trouble is not None:
            entry["skipped"] = trouble or "was not measured"
        else:
            values = ratios(involved[0], involved[1:]) if aim.parts else involved[0].medians()
            entry |= spread(values)
            entry["met"] = aim.least <= entry["ratio"] <= aim.most
        yield entry


# ---- On the terminal ----------------------------------------------------------------------------------------------------


def number(value):
    if value >= 1000:
        return f"{value:.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.3f}"


def print_table(results):
    machine = results["machine"]
    print(f"{machine['cpu']}, {machine['cpus']} CPUs, Linux {machine['kernel']}, load {machine['load']:.1f} before; "
          f"{results['rounds']} rounds\n")
    print(f"{'':32} {'median':>10} {'p99':>10}      {'ratio':>8} {'quartiles':>15}  to")
    for name, row in results["rows"].items():
        if "failed" in row or "skipped" in row:
            print(f"{name:32} {'FAIL' if 'failed' in row else 'SKIP'} {row.get('failed') or row['skipped']}")
            continue
        ratio = ""
        if "ratio" in row:
            ratio = f"{row['ratio']:8.2f} {row['low']:7.2f} {row['high']:7.2f}  {row['base']}"
        print(f"{name:32} {number(row['median']):>10} {number(row['p99']):>10} {row['unit']:4} {ratio}".rstrip())


def print_aims(results):
    if not results["aims"]:
        return
    print("\nAims")
    for aim in results["aims"]:
        most = aim["most"]
        wanted = f"at most {most:.2f}" if most < 1000 else f"at most {most:.0f}"
        if aim["least"]:
            wanted += f", at least {aim['least']:.2f}"
        if "skipped" in aim:
            print(f"  not measured          {aim['aim']} ({wanted}): {aim['skipped']}")
        else:
            print(f"  {'met    ' if aim['met'] else 'NOT MET'} {aim['ratio']:12.3f}  {aim['aim']} ({wanted})")


def print_tap(results):
    print(f"1..{len(results['rows'])}")
    for i, (name, row) in enumerate(results["rows"].items(), 1):
        if "failed" in row:
            print(f"not ok {i} {name}\n# {row['failed']}")
        elif "skipped" in row:
            print(f"ok {i} {name} # SKIP {row['skipped']}")
        else:
            print(f"ok {i} {name}" if row["median"] > 0 or row["unit"] == "B" else f"not ok {i} {name}")


# ---- Against an earlier run ---------------------------------------------------------------------------------------------


def load(path):
    try:
        with open(path, encoding="utf-8") as file:
            results = json.load(file)
    except OSError as error:
        sys.exit(f"bench.sh: {path}: {error.strerror}")
    except ValueError:
        results = None
    if not isinstance(results, dict) or results.get("version") != VERSION:
        sys.exit(f"bench.sh: {path} is not the results.json of a benchmark of this kind")
    return results


def is_worse(old, new):
    """By more than the tolerance, and by more than the rounds differ from each other."""
    return new["ratio"] > old["ratio"] * (1 + TOLERANCE) and new["low"] > old["high"]


def compare(old, new):
    """Ratios, not times: two machines, or two days, have not the same microseconds. Returns an exit status."""
    worse, lost, better, common = [], [], [], 0
    for name, then in old["rows"].items():
        row = new["rows"].get(name)
        if row is None or "median" not in then:
            continue
        if "failed" in row:
            lost.append(f"{name}: {row['failed']}")
        elif "ratio" in then and "ratio" in row:
            common += 1
            line = f"{name:32} {then['ratio']:8.2f} -> {row['ratio']:8.2f}   of {row['base']}"
            if is_worse(then, row):
                worse.append(line)
            elif is_worse(row, then):
                better.append(line)

    print(f"\nCompared: {common} rows, {len(worse)} worse, {len(better)} better, {len(lost)} fail")
    for title, lines in (("Worse", worse), ("Fail", lost), ("Better", better)):
        for line in lines:
            print(f"  {title:6} {line}")
    return 1 if worse or lost or not common else 0


# ---- Plots --------------------------------------------------------------------------------------------------------------


def points(results, pattern, value=lambda row: row["median"]):
    """From the rows that match: what the pattern's group says, as a number, and the value."""
    found = []
    for name, row in results["rows"].items():
        match = re.fullmatch(pattern, name)
        if match and "median" in row:
            found.append((what.SIZES.get(match[1]) or int(match[1]), value(row)))
    return sorted(found)


def curves(results, wanted, value=lambda row: row["median"]):
    return [(title, data) for title, pattern in wanted if len(data := points(results, pattern, value)) > 1]


def latency_by_size(results):
    return curves(results, [
        (f"{who}, {way}", f"{who}/{way}/touch/(.*)") for way in what.WAYS for who in ("floor", "broker")
    ] + [(f"own, {kind}", f"own/{kind}/(.*)") for kind in ("memfd", "anonymous", "calloc", "hugetlb")])


def cost_by_live(results):
    return curves(results, [("Allocate", "live/allocate/(.*)"), ("ListAllocations", "live/list/(.*)"),
                            ("restart", "live/restart/(.*)")])


def throughput_by_clients(results):
    return curves(results, [(f"{who}, {way}", f"clients/{who}/{way}/(.*)") for way in what.WAYS
                            for who in ("floor", "broker")], lambda row: 1e6 / row["median"])


PLOTS = {
    "latency-by-size": ("Allocate, map and touch", "bytes", "microseconds", latency_by_size),
    "cost-by-live": ("With so many allocations", "live allocations", "microseconds", cost_by_live),
    "throughput-by-clients": ("Allocations with so many clients", "clients", "calls a second", throughput_by_clients),
}


def plot(results, folder):
    for name, (title, x, y, find) in PLOTS.items():
        data = find(results)
        if not data:
            continue
        script = [f'set title "{title}"', f'set xlabel "{x}"', f'set ylabel "{y}"', "set logscale xy", "set grid",
                  "set key outside right", 'set format y "%.0f"']
        if x == "bytes":
            script += ["set logscale x 2", 'set format x "%.0b %B"']
        for i, (_, values) in enumerate(data):
            script += [f"$data{i} << END", *(f"{a} {b}" for a, b in values), "END"]
        lines = ", ".join(f'$data{i} using 1:2 with linespoints title "{label}"' for i, (label, _) in enumerate(data))
        for terminal, ending in (("svg size 900,560 dynamic background 'white'", "svg"), ("pngcairo size 900,560", "png")):
            script += [f"set terminal {terminal}", f'set output "{os.path.join(folder, name)}.{ending}"', f"plot {lines}"]
        try:
            subprocess.run(["gnuplot"], input="\n".join(script) + "\n", text=True, check=True)
        except (OSError, subprocess.CalledProcessError) as error:
            print(f"bench.sh: no plot: {error}", file=sys.stderr)
            return

"""Runs scenarios/soak.yaml and fits a line through the memory of squall's processes; started by ci/soak."""

import argparse
import statistics
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from processes import ROOT, report_of

# Bytes by which memory may grow for each connection that came and went: half of the least that is kept for one, a timer's 16.
MOST = 8


def slope(points):
    """Least squares, through (x, y)."""
    xs, ys = zip(*points)
    x, y = statistics.fmean(xs), statistics.fmean(ys)
    return sum((a - x) * (b - y) for a, b in points) / sum((a - x) ** 2 for a in xs)


def main():
    parser = argparse.ArgumentParser(prog="ci/soak")
    parser.add_argument("--squall", default=ROOT / "target/release/squall", type=Path)
    parser.add_argument("--minutes", type=int, default=10)
    parser.add_argument("--keep", type=Path, help="keep the run's report in this folder")
    options = parser.parse_args()
    shorter = [] if options.minutes == 10 else [f"phases[1].for={options.minutes}m", "phases[1].faults=[]"]
    with tempfile.TemporaryDirectory() as scratch:
        out = options.keep or scratch
        code, summary = report_of(options.squall, ROOT / "scenarios/soak.yaml", shorter, out, 60 * options.minutes + 120)
    if code != 0:
        sys.exit(f"the run itself did not pass: exit {code}")
    churn = next(phase for phase in summary["phases"] if phase["name"] == "churn")
    # Not the first two minutes, or fifth, in which everything that is kept for next time is used for the first.
    begin = churn["start"] + min(120, 0.2 * (churn["end"] - churn["start"]))
    samples = [sample for sample in summary["cost"]["samples"] if begin <= sample["at"] <= churn["end"]]
    if len(samples) < 10:
        sys.exit(f"only {len(samples)} looks at memory in the time that counts: too few for a line")
    # Opened while memory was looked at: as many came and went.
    opened = sum(second["opened"] for second in summary["timeline"] if samples[0]["at"] < second["at"] <= samples[-1]["at"])
    seconds = samples[-1]["at"] - samples[0]["at"]
    print(f"{opened:,} connections came and went in {seconds:.0f} s, {summary['connections']:,} at a time; {len(samples)} looks at memory")
    fine = True
    for whose in ("shards", "gateway", "coordinator"):
        points = [(sample["at"], sample[f"{whose}_memory"]) for sample in samples]
        first, last = points[0][1], points[-1][1]
        # The coordinator keeps a row for each second of the timeline, which is its purpose: told, not judged.
        grows = slope(points) * (points[-1][0] - points[0][0])
        good = whose == "coordinator" or grows <= MOST * opened
        fine &= good
        verdict = "" if whose == "coordinator" else f", {grows / opened:+.1f} B a connection, {'ok' if good else 'FAILED'}: ≤ {MOST}"
        print(f"{whose:<12} {first / 2**20:6.2f} MiB, then {last / 2**20:6.2f} MiB; the line grows by {grows / first:+.2%}{verdict}")
    sys.exit(0 if fine else 1)


if __name__ == "__main__":
    main()

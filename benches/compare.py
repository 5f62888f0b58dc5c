"""Runs squall and the floor in alternation and prints one table; started by ci/bench, which builds both.

Ratios are made within a round, of measurements that follow each other, and the median of the rounds is judged: what
slows the machine down for a minute slows both down.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
import others
from processes import ROOT, Run, Server, floor_client, spread

# The floors under the medians, from what issue 3 wants and what an idle machine prints, less the noise seen on one that
# compiles meanwhile. Whoever makes squall faster should raise them.
LIMITS = {
    # squall's messages per CPU-second as a share of the floor's at the same rate.
    "echo": 0.45,
    "fan-out": 0.45,
    # CPU of an opening, as a multiple of the floor's.
    "opening": 3.0,
    # CPU of an opening, 18,000 to one address as a multiple of 10,000: the kernel's port search alone would make it 5.
    "cliff": 1.8,
    # Bytes of a connection at rest, everything armed.
    "memory": 1024,
}
# Shares of the floor's closed loop at which squall's own limit is looked for.
STEPS = [share / 100 for share in range(50, 105, 5)]
# Below that limit by as much as noise moves it.
BUSY = 0.9
# Messages a second at which both clients mostly sleep: what waking up costs.
LEISURE = 10_000
# Messages a second to 1,000 subscribers.
FANOUT_RATE = 150


class Table:
    """Rows of what was measured, and whether any fell under its limit."""

    def __init__(self):
        self.rows, self.failed, self.notes = [], [], []

    def add(self, what, squall, floor="", ratio="", verdict=""):
        self.rows.append([what, squall, floor, ratio, verdict])

    def judge(self, name, value, limit, lower_is_better=False):
        good = value <= limit if lower_is_better else value >= limit
        if not good:
            self.failed.append(name)
        return f"{'ok' if good else 'FAILED'}: {'≤' if lower_is_better else '≥'} {limit:g}"

    def lines(self):
        head = ["", "squall", "floor", "squall / floor", "limit"]
        rows = [head, ["---"] * 5, *self.rows]
        widths = [max(len(row[i]) for row in rows) for i in range(5)]
        for row in rows:
            yield "| " + " | ".join(cell.ljust(width, "-" if cell == "---" else " ") for cell, width in zip(row, widths)) + " |"
        yield from ([""] + [f"{note}  " for note in self.notes] if self.notes else [])


def say(text):
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)


def alternate(rounds, *measures):
    """Each measure once a round, forwards and backwards in turn: a list of results for each."""
    results = [[] for _ in measures]
    for turn in range(rounds):
        order = list(enumerate(measures))
        for i, measure in order if turn % 2 == 0 else reversed(order):
            results[i].append(measure())
    return results


def ratios(ours, theirs):
    return [a / b for a, b in zip(ours, theirs)]


def echo_sets(connections, rate, **more):
    sets = {"clients.askers.count": connections, "clients.askers.request.rate": f"{rate}/s"} | more
    return [f"{name}={value}" for name, value in sets.items()]


def keeps_up(run, phase, connections, rate):
    """Whether sends were so punctual that no connection had two of them waiting: else they leave in one write, which is
    cheaper, and no longer what the floor does."""
    lag = run.timer("lag", "p90", phase)
    return lag / 1e3 <= connections / rate and run.count("replies", phase) >= 0.99 * run.count("requests", phase)


def highest_rate(options, connections, closed_per_second):
    """The highest rate at which squall keeps up, in steps of a twentieth of what the floor reaches in a closed loop."""
    rates = [int(closed_per_second * share / 1000) * 1000 for share in STEPS]
    base = rates[0]
    phases = [{"name": "open", "for": "1s"}, {"name": "warmup", "for": "1s"}]
    for i, rate in enumerate(rates):
        burst = {"clients": "askers", "rate": f"{rate / base:.6f}x"}
        phases.append({"name": f"step{i}", "for": "1s", "faults": [{"burst": burst}] if i else []})
    asking = json.dumps(["warmup"] + [phase["name"] for phase in phases[2:]])
    with Server() as server:
        sets = echo_sets(connections, base, phases=json.dumps(phases), **{"clients.askers.request.in": asking})
        run = Run(options.squall, "echo", server, sets)
    kept = base
    for i, rate in enumerate(rates):
        # Falling behind spoils the steps above.
        if not keeps_up(run, f"step{i}", connections, rate):
            break
        kept = rate
    return kept


def echo(table, options, connections):
    seconds = 3 if options.quick else 6

    def floor(**more):
        with Server() as server:
            return floor_client("echo", server, connections=connections, seconds=seconds, **more)

    def squall(rate):
        with Server() as server:
            run = Run(options.squall, "echo", server, echo_sets(connections, rate, **{"phases.steady.for": f"{seconds}s"}))
        say(
            f"echo {connections} at {rate:,}/s: squall {run.count('replies', 'steady'):,} replies for {run.cpu_in('steady'):.3f} CPU-s,"
            f" lag p50 {run.timer('lag', 'p50', 'steady')} p99 {run.timer('lag', 'p99', 'steady')} ms, {run.valid};"
            f" coordinator {run.coordinator_cpu:.2f} CPU-s in all"
        )
        return run

    def rows(rate, ours, theirs, name, judged):
        ours_rates = [run.count("replies", "steady") / run.cpu_in("steady") for run in ours]
        share = ratios(ours_rates, [run["per_cpu_second"] for run in theirs])
        table.add(
            f"echo, {connections:,} connections, {rate:,}/s, messages per CPU-s; floor {name}",
            spread(ours_rates),
            spread([run["per_cpu_second"] for run in theirs]),
            spread(share, "{:.1%}"),
            table.judge(f"echo, {connections:,} connections, floor {name}", statistics.median(share), LIMITS["echo"]) if judged else "",
        )

    def times(ours, theirs):
        for stat in ("p50", "p99"):
            table.add(
                f"  round trip {stat}, ms; floor paced alike",
                spread([run.timer("rtt", stat, "steady") for run in ours], "{:.3f}"),
                spread([run[f"{stat}_us"] / 1e3 for run in theirs], "{:.3f}"),
            )

    busy = options.echo_rate or int(highest_rate(options, connections, floor()["per_second"]) * BUSY / 1000) * 1000
    closed, paced, ours = alternate(options.rounds, floor, lambda: floor(rate=busy), lambda: squall(busy))
    rows(busy, ours, closed, "in a closed loop", judged=True)
    # Clients that wake for each message are busy all the time: the same rate, the same CPU, whatever a message costs.
    rows(busy, ours, paced, "paced alike", judged=False)
    times(ours, paced)
    late = [run for run in ours if not keeps_up(run, "steady", connections, busy)]
    if late:
        lags = spread([run.timer("lag", "p90", "steady") for run in late], "{:.2f}")
        table.notes.append(f"echo, {connections:,} connections: squall did not keep up in {len(late)} of {len(ours)} runs, lag p90 {lags} ms.")
    note_validity(table, f"echo, {connections:,} connections", ours)

    paced, ours = alternate(options.rounds, lambda: floor(rate=LEISURE), lambda: squall(LEISURE))
    rows(LEISURE, ours, paced, "paced alike", judged=True)
    times(ours, paced)


def note_validity(table, what, runs):
    bad = [run for run in runs if run.valid != "valid"]
    if bad:
        reasons = bad[0].summary["validity"]["reasons"]
        table.notes.append(f"{what}: {len(bad)} of {len(runs)} runs were {bad[0].valid}: {'; '.join(map(str, reasons))[:300]}")


def fanout(table, options):
    seconds, subscribers = 3 if options.quick else 6, 1000

    def floor():
        with Server("--fanout") as server:
            return floor_client("receive", server, connections=subscribers, rate=FANOUT_RATE, seconds=seconds)["per_cpu_second"]

    def squall():
        with Server("--fanout") as server:
            sets = [
                f"clients.subscribers.count={subscribers}",
                f"clients.publisher.publish.rate={FANOUT_RATE}/s",
                f"phases.steady.for={seconds}s",
            ]
            run = Run(options.squall, "fanout", server, sets)
        if run.exit not in (0, 106):
            raise RuntimeError(f"squall lost deliveries, exit {run.exit}:\n{run.output}")
        say(f"fan-out: squall {run.count('received', 'steady'):,} deliveries for {run.cpu_in('steady'):.3f} CPU-s, {run.valid}")
        return run.count("received", "steady") / run.cpu_in("steady"), run

    theirs, ours = alternate(options.rounds, floor, squall)
    ours_rates = [value for value, _ in ours]
    share = ratios(ours_rates, theirs)
    table.add(
        f"fan-out of {FANOUT_RATE}/s to 1,000, deliveries per CPU-s",
        spread(ours_rates),
        spread(theirs),
        spread(share, "{:.1%}"),
        table.judge("fan-out", statistics.median(share), LIMITS["fan-out"]),
    )
    note_validity(table, "fan-out", [run for _, run in ours])


def opening(table, options):
    per_10k = {}

    def floor(count):
        with Server() as server:
            return floor_client("open", server, connections=count, rate=4000)["cpu_per_10k"]

    def squall(count):
        ramp = -(-count // 4000) + 1
        with Server("--fanout") as server:
            sets = [f"clients.subscribers.count={count}", f"phases.ramp.for={ramp}s", "phases.arm.for=1s", "phases.idle.for=1s"]
            run = Run(options.squall, "idle", server, sets)
        if run.count("opened", "ramp") < count:
            raise RuntimeError(f"squall opened {run.count('opened', 'ramp')} of {count}:\n{run.output}")
        cost = run.cpu_in("ramp") / count * 10_000
        say(f"opening {count:,}: squall {cost:.3f} CPU-s per 10,000, open p99 {run.timer('open', 'p99', 'ramp')} ms")
        return cost

    for count in (10_000, 18_000):
        theirs, ours = alternate(options.rounds, lambda: floor(count), lambda: squall(count))
        share = ratios(ours, theirs)
        per_10k[count] = ours
        table.add(
            f"opening {count:,} at 4,000/s to one address, CPU-s per 10,000",
            spread(ours, "{:.2f}"),
            spread(theirs, "{:.2f}"),
            spread(share, "{:.2f}"),
            table.judge(f"opening {count:,}", statistics.median(share), LIMITS["opening"], lower_is_better=True),
        )
    cliff = statistics.median(per_10k[18_000]) / statistics.median(per_10k[10_000])
    table.add(
        "an opening at 18,000 as a multiple of one at 10,000",
        f"{cliff:.2f}",
        verdict=table.judge("port search", cliff, LIMITS["cliff"], lower_is_better=True),
    )


def memory(table, options, count, shards):
    rate = 4000
    ramp = -(-count // rate) + 1

    def pss_of(count, ramp, shards=shards):
        with Server("--fanout", ports=shards) as server:
            sets = [
                f"clients.subscribers.count={count}",
                f"clients.publishers.count={shards}",
                f"phases.ramp.for={ramp}s",
                f"generator.shards={shards}",
            ]
            # In the middle of the idle phase, whatever starting took.
            run = Run(options.squall, "idle", server, sets, memory_at=ramp + 5)
        if run.count("opened") < count or not run.memory:
            raise RuntimeError(f"squall opened {run.count('opened')} of {count}:\n{run.output}")
        return run.memory

    def squall():
        # What a shard takes with next to no connections is not theirs.
        few = 100 * shards
        return (pss_of(count, ramp) - pss_of(few, 1)) / (count - few)

    def floor():
        with Server() as server:
            return floor_client("open", server, connections=min(count, 10_000))["bytes_per_connection"]

    theirs, ours = alternate(1 if count > 20_000 else options.rounds, floor, squall)
    table.add(
        f"memory, {count:,} connections on {shards} shard{'s' * (shards > 1)}, Pss bytes each",
        spread(ours),
        spread(theirs),
        verdict=table.judge(f"memory at {count:,}", statistics.median(ours), LIMITS["memory"], lower_is_better=True),
    )


def rate(table, options):
    def squall(wanted):
        with Server("--sink") as server:
            sets = [f"clients.publishers.publish.rate={wanted}/s", f"phases.steady.for={3 if options.quick else 5}s"]
            run = Run(options.squall, "rate", server, sets)
        run.arrived = server.result[0]["messages"]
        return run

    runs = alternate(options.rounds, lambda: squall(200_000))[0]
    offered, sent = runs[-1].count("offered"), runs[-1].count("sent")
    if sent != runs[-1].arrived:
        table.failed.append("sent is what arrived")
        table.notes.append(f"squall says it sent {sent:,} messages, and {runs[-1].arrived:,} arrived.")
    table.add("200,000/s on 100 connections: sent of offered", spread([run.count("sent") / run.count("offered") for run in runs], "{:.2%}"))
    table.add("its lag, p99 ms", spread([run.timer("lag", "p99", "steady") for run in runs], "{:.3f}"))
    table.add("its CPU, share of a core", spread([run.cpu_in("steady") / (3 if options.quick else 5) for run in runs], "{:.0%}"))
    table.add("its validity", ", ".join(sorted({run.valid for run in runs})))
    over = squall(1_900_000)
    honest = over.exit == 106
    if not honest:
        table.failed.append("generator-limited")
    steady = sum(phase["end"] - phase["start"] for phase in over.summary["phases"] if phase["name"] == "steady")
    table.add(
        "asked for 1,900,000/s: sent, and what it says",
        f"{over.count('sent') / steady:,.0f}/s, {over.valid}, exit {over.exit}",
        verdict="ok: exit 106" if honest else "FAILED: exit 106",
    )
    table.notes.append(f"Asked for 1,900,000/s it said: {'; '.join(map(str, over.summary['validity']['reasons']))[:300]}")


def machine():
    cpu = next((line.split(":")[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")), "unknown CPU")
    revision = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True).stdout.strip()
    return f"{cpu}, {os.cpu_count()} cores, Linux {os.uname().release}, squall at {revision or 'no revision'}"


def main():
    parts = ["echo", "fan-out", "opening", "memory", "rate", "others"]
    parser = argparse.ArgumentParser(prog="ci/bench", description="squall against the floor, in alternation")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="one short round")
    parser.add_argument("--only", action="append", choices=parts, help="only this part; may be repeated")
    parser.add_argument("--large", action="store_true", help="memory at 100,000 connections over 6 shards, too")
    parser.add_argument("--echo-rate", type=int, help="messages a second, instead of a share of what the floor reaches")
    parser.add_argument("--squall", default=str(ROOT / "target/release/squall"), help="another binary to measure")
    parser.add_argument("--markdown", help="write the table to this file, too")
    options = parser.parse_args()
    if options.quick:
        options.rounds = 1
    wanted = options.only or parts
    table = Table()
    load = os.getloadavg()[0]
    if "echo" in wanted:
        echo(table, options, 100)
        echo(table, options, 1000)
    if "fan-out" in wanted:
        fanout(table, options)
    if "opening" in wanted:
        opening(table, options)
    if "memory" in wanted:
        memory(table, options, 10_000, 1)
        if options.large:
            memory(table, options, 100_000, 6)
    if "rate" in wanted:
        rate(table, options)
    if "others" in wanted:
        others.compare(table, options, say)
    head = f"{machine()}; {options.rounds} round{'s' * (options.rounds > 1)}: median (lowest–highest); load {load:.1f} before it began"
    text = "\n".join([head, "", *table.lines()])
    print(text)
    if options.markdown:
        Path(options.markdown).write_text(text + "\n")
    if table.failed:
        print(f"\nunder their limits: {', '.join(table.failed)}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

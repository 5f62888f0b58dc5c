"""Runs scenarios/million.yaml at several sizes and prints one table of what a connection costs; started by ci/million.

Every figure is one that the run's own summary.json holds, or a quotient of two of them. A run that does not pass its gates, or
is not valid, is no figure: it ends with exit 1, as do costs that grow faster than connections do.
"""

import argparse
import json
import math
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from processes import ROOT, aligned, report_of

SCENARIO = ROOT / "scenarios/million.yaml"
# The scenario's own size, speed, and connections of a shard.
FULL, OPENS_PER_SECOND, PER_SHARD, OTHERS = 1_000_000, 1_000_000 / 220, 17_860, 51
# Costs of the largest size as multiples of those of a smaller one with about as many connections a shard. Memory has no noise to
# speak of, but a room has about a hundred members however many nodes there are, so that with more nodes each knows more rooms;
# CPU is a shared machine's, and a million connections do not fit its caches as a hundred thousand do; a snapshot has an entry for
# each latency of its second, and a broadcast to more connections is under way for more seconds.
MEMORY_GROWS, CPU_GROWS, TELEMETRY_GROWS = 1.25, 2.0, 1.5
# What issue 3 allows, whatever the size: bytes a connection of the shards and of the gateway, bytes in all, and of the coordinator
# a share of a core and bytes. With fewer than so many connections the processes weigh more than they do.
MUST = {"shards": 512, "gateway": 2048, "all": 20 << 30, "coordinator_cpu": 0.10, "coordinator": 150 << 20}
ENOUGH = 100_000

# The same in half a minute: everyone is pinged within ten seconds, and comes back within three.
QUICK = [
    "clients.subscribers.heartbeat.every=10s",
    "clients.subscribers.reconnect.base=3s",
    "phases[1].for=12s",
    *(f"phases[{i}].for={seconds}s" for i, seconds in ((4, 3), (5, 3), (6, 7), (7, 2))),
]


def size(text):
    factors = {"k": 1_000, "M": 1_000_000}
    number, factor = (text[:-1], factors[text[-1]]) if text[-1:] in factors else (text, 1)
    return int(number) * factor


def words(count):
    return f"{count // 1_000_000}M" if count % 1_000_000 == 0 else f"{count // 1_000}k"


def scenario_gates():
    """The gates as they stand in the scenario, a line each."""
    text = SCENARIO.read_text().split("\ngates:\n", 1)[1].split("\ngenerator:", 1)[0]
    return [line.removeprefix("  - ") for line in text.splitlines() if line.startswith("  - ")]


def sets(count, quick):
    """What to set for so many subscribers. The scenario is written for a million: nothing."""
    if count == FULL and not quick:
        return []
    shards = max(4 if quick else 1, math.ceil(count / PER_SHARD))
    ramp = math.ceil(count / OPENS_PER_SECOND)
    rooms = [1, max(1, count // 100)]
    sizes = {str(FULL + OTHERS): count + OTHERS, words(FULL): count, words(FULL // 10): count // 10}
    gates = [" ".join(str(sizes.get(word, word)) for word in gate.split()) for gate in scenario_gates()]
    return [
        f"clients.subscribers.count={count}",
        f"clients.subscribers.vars.room.random.int={rooms}",
        f"clients.publishers.vars.room.random.int={rooms}",
        f"target.embedded.nodes={shards}",
        f"generator.shards={shards}",
        f"phases[0].for={ramp + 10}s",
        f"phases[0].open.subscribers.stages[0].to={count}",
        f"phases[0].open.subscribers.stages[0].over={ramp}s",
        f"phases[3].for={math.ceil(44 * count / FULL) + 2}s",
        f"gates={json.dumps(gates)}",
        *(QUICK if quick else []),
    ]


class Costs:
    """What one run cost, from its summary."""

    def __init__(self, summary):
        self.summary = summary
        self.phases = {phase["name"]: phase for phase in summary["phases"]}
        self.samples = summary["cost"]["samples"]
        self.seconds = summary["timeline"]
        self.count = summary["connections"]
        first, ramped, idle = self.samples[0], self.by("ramp"), self.by("heartbeat")
        # With all accounts: everyone has heard the broadcast by then.
        self.rest = self.by("rooms")
        self.peak = max(map(all_memory, self.samples))
        last = self.samples[-1]
        self.coordinator_cpu = last["coordinator_cpu"] / last["at"]
        self.coordinator = max(s["coordinator_memory"] for s in self.samples)
        # Between the looks next to the phase's ends, of which there may be one in eight seconds: pings in proportion.
        between = idle["at"] - ramped["at"]
        heartbeat = self.phases["heartbeat"]
        pings = self.counted("pings_sent", "heartbeat") * between / (heartbeat["end"] - heartbeat["start"])
        self.ping = {who: (idle[f"{who}_cpu"] - ramped[f"{who}_cpu"]) / pings for who in ("shards", "gateway")}
        # What opening took, less the heartbeats of those that were open already.
        opens = ramped["open"] - first["open"]
        early = self.counted("pings_sent", "ramp") * opens / self.count
        self.open = {who: (ramped[f"{who}_cpu"] - first[f"{who}_cpu"] - early * self.ping[who]) / opens for who in self.ping}

    def by(self, phase):
        """The last look before a phase ended."""
        end = self.phases[phase]["end"]
        return max((s for s in self.samples if s["at"] <= end), key=lambda s: s["at"])

    def counted(self, name, phase):
        return self.summary["counts_by_phase"][phase].get(name, 0)

    def each(self, which):
        return self.rest[f"{which}_memory"] / self.rest["open"]

    def kept(self):
        """What issue 3 allows, and whether it was kept."""
        rows = [
            ("memory in all", self.peak, MUST["all"]),
            ("the coordinator's memory", self.coordinator, MUST["coordinator"]),
            ("the coordinator's share of a core", self.coordinator_cpu, MUST["coordinator_cpu"]),
        ]
        if self.count >= ENOUGH:
            rows += [(f"memory of the {who} a connection", self.each(who), MUST[who]) for who in ("shards", "gateway")]
        return [(what, value <= most) for what, value, most in rows]

    def telemetry(self):
        shards = self.summary["shards"]
        return self.summary["cost"]["telemetry_bytes"] / self.summary["length"] / shards

    def timer(self, name, stat, phase):
        return self.summary["timers_by_phase"][phase][name][stat] / 1e3

    def column(self):
        storm = [s for s in self.seconds if self.phases["storm"]["start"] < s["at"] <= self.phases["settle"]["end"]]
        return {
            "shards, and the gateway's nodes": f"{self.summary['shards']}",
            "user memory of shards, B a connection": f"{self.each('shards'):,.0f}",
            "user memory of the gateway, B a connection": f"{self.each('gateway'):,.0f}",
            "kernel memory of both ends, B a connection": f"{self.each('kernel'):,.0f}",
            "most memory at any time, GiB": f"{self.peak / (1 << 30):.2f}",
            "shards' CPU-s for 10k openings": f"{self.open['shards'] * 1e4:.2f}",
            "gateway's CPU-s for 10k openings": f"{self.open['gateway'] * 1e4:.2f}",
            "shards' CPU for a heartbeat, µs": f"{self.ping['shards'] * 1e6:.1f}",
            "gateway's CPU for a heartbeat, µs": f"{self.ping['gateway'] * 1e6:.1f}",
            "telemetry of a shard, B/s": f"{self.telemetry():,.0f}",
            "coordinator, % of a core": f"{100 * self.coordinator_cpu:.1f}",
            "coordinator, MiB": f"{self.coordinator / (1 << 20):.0f}",
            "broadcast reached": f"{self.counted('unique', 'broadcast'):,}",
            "broadcast: half, all after, s": f"{self.timer('latency', 'p50', 'broadcast'):.2f}, {self.timer('latency', 'max', 'broadcast'):.2f}",
            "storm: reconnected, most attempts a second": f"{self.counted('reconnected', 'storm'):,}, "
            f"{max((s.get('attempts', 0) for s in storm), default=0):,}",
            "lost, duplicated, failed": ", ".join(str(self.summary["counts"].get(name, 0)) for name in ("lost", "duplicated", "failed")),
            "verdict": f"{self.summary['verdict']}, {self.summary['validity']['state']}",
        }


def all_memory(sample):
    return sum(sample[f"{who}_memory"] for who in ("shards", "gateway", "coordinator", "kernel"))


def growth(costs):
    """Lines about costs that grow, of the largest size against the smallest that is like it, and whether any grows too fast."""
    large = costs[-1]
    per_shard = lambda cost: cost.count / cost.summary["shards"]
    # A process has its own weight, which more connections share: that would hide what each of them has gained.
    like = [cost for cost in costs[:-1] if per_shard(cost) >= 0.85 * per_shard(large)]
    if not like:
        return ["no smaller size has as many connections a shard: nothing is said about growth"], True
    small = like[0]
    told, fine = [], True
    pairs = [
        ("user memory of shards", small.each("shards"), large.each("shards"), MEMORY_GROWS),
        ("user memory of the gateway", small.each("gateway"), large.each("gateway"), MEMORY_GROWS),
        ("kernel memory", small.each("kernel"), large.each("kernel"), MEMORY_GROWS),
        ("shards' CPU of an opening", small.open["shards"], large.open["shards"], CPU_GROWS),
        ("shards' CPU of a heartbeat", small.ping["shards"], large.ping["shards"], CPU_GROWS),
        ("telemetry of a shard", small.telemetry(), large.telemetry(), TELEMETRY_GROWS),
    ]
    for what, before, after, most in pairs:
        good = after <= most * before
        fine &= good
        told.append(f"{what}: {after / before:.2f} times a connection's at {words(small.count - OTHERS)} ({'ok' if good else 'FAILED'}: ≤ {most:g})")
    return told, fine


def main():
    parser = argparse.ArgumentParser(prog="ci/million")
    parser.add_argument("--squall", default=ROOT / "target/release/squall", type=Path)
    parser.add_argument("--sizes", default="10k,100k,300k,1M", help="subscribers, smallest first")
    parser.add_argument("--quick", action="store_true", help="four shards or more, in half a minute")
    parser.add_argument("--markdown", type=Path, help="write the table there, too")
    parser.add_argument("--keep", type=Path, help="keep the runs' reports in this folder")
    options = parser.parse_args()
    columns, costs, fine = {}, [], True
    for count in map(size, options.sizes.split(",")):
        print(f"{time.strftime('%H:%M:%S')} {count:,} subscribers", file=sys.stderr, flush=True)
        with tempfile.TemporaryDirectory() as scratch:
            out = options.keep / words(count) if options.keep else Path(scratch)
            # Time enough for more than twice what the plan says.
            code, summary = report_of(options.squall, SCENARIO, sets(count, options.quick), out, 1500)
        fine &= code == 0
        if code == 0:
            costs.append(Costs(summary))
            columns[words(count)] = costs[-1].column()
    names = next(iter(columns.values()), {})
    rows = [["", *columns], *([name, *(column[name] for column in columns.values())] for name in names)]
    lines = list(aligned(rows)) if columns else []
    for cost in costs:
        for what, kept in cost.kept():
            fine &= kept
            if not kept:
                lines += ["", f"FAILED: {what} with {cost.count:,} connections is more than issue 3 allows  "]
    if len(costs) > 1:
        told, linear = growth(costs)
        lines += ["", *(f"{line}  " for line in told)]
        fine &= linear
    text = "\n".join(lines)
    print(text)
    if options.markdown:
        options.markdown.write_text(text + "\n")
    sys.exit(0 if fine else 1)


if __name__ == "__main__":
    main()

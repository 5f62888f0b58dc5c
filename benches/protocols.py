"""What each protocol and transport costs squall, beside the protocol's own clients; started by ci/protocols.

Against the embedded gateway, a process of its own on core 0; the client that is measured is on core 1. CPU is the kernel's account of
the client's process. No limits: the budgets hold for raw and json, which ci/bench judges.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from processes import ROOT, Run, aligned, cpu_seconds, end, spread, start

SCRIPT = ROOT / "benches/others/subscribers.mjs"
TOOLS = ROOT / "target/tools/others"
PACKAGES = ["mqtt@5.16.0", "@stomp/stompjs@7", "socket.io-client@4.8", "eventsource@4", "ws@8"]
HOW = f"npm install --prefix target/tools/others {' '.join(PACKAGES)}"

# Deliveries a second: so many subscribers, told so often.
SUBSCRIBERS, TELLS = 200, 100
# Publishes a second, from so many connections.
PUBLISHERS, PUBLISHES = 50, 5_000
# Connections at rest: a few to know what a shard takes without, and many.
FEW, MANY = 100, 5_000

SOCKET_IO = {"socket_io": {"subscribe": '["subscribe","{topic}"]', "publish": '["publish","{topic}","{payload}"]', "message": "message", "topic": "/1", "payload": "/2"}}
# name: (keys of a group, which of them the npm client is called, whether publishes are acknowledged)
KINDS = {
    "json": ({}, None, False),
    "STOMP, receipts": ({"protocol": {"stomp": {}}}, "stomp", True),
    "MQTT 5, QoS 0": ({"protocol": {"mqtt": {"subscribe_qos": 0, "publish_qos": 0}}}, "mqtt", False),
    "MQTT 5, QoS 1": ({"protocol": {"mqtt": {"subscribe_qos": 1, "publish_qos": 1}}}, None, True),
    "MQTT 5, QoS 2": ({"protocol": {"mqtt": {"subscribe_qos": 1, "publish_qos": 2}}}, None, True),
    "Socket.IO, acks": ({"protocol": SOCKET_IO}, "socket_io", True),
    "SSE, and POST": ({"transport": "sse"}, "sse", True),
    "long poll, and POST": ({"transport": "long_poll"}, None, True),
}


class Gateway:
    """`squall gateway` on core 0, ended with the `with` block."""

    def __init__(self, squall):
        self.squall = squall

    def __enter__(self):
        self.process = start([self.squall, "gateway", "--listen", "127.0.0.1:0"], 0, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        said = self.process.stdout.readline()
        place = next((word for word in said.split() if "127.0.0.1:" in word), None)
        if place is None:
            end(self.process)
            raise RuntimeError(f"the gateway did not start: {said}")
        self.port = int(place.rstrip("/.,").rsplit(":", 1)[1])
        return self

    def __exit__(self, *_):
        end(self.process)

    @property
    def urls(self):
        return f"ws://127.0.0.1:{self.port}/"


def scenario(groups, phases, folder):
    """A scenario with these groups; JSON is YAML."""
    text = {"version": 1, "name": "bench-protocols", "target": {"url": "ws://127.0.0.1:9/"}, "clients": groups, "phases": phases, "generator": {"shards": 1}}
    path = Path(folder) / "scenario.yaml"
    path.write_text(json.dumps(text))
    return path


def teller(seconds_of, **more):
    return {"count": 1, "publish": {"topic": "bench", "rate": f"{TELLS}/s", "size": "100B", "in": seconds_of}, **more}


def phases(seconds):
    return [{"name": "ramp", "for": "2s"}, {"name": "warmup", "for": "1s"}, {"name": "steady", "for": f"{seconds}s"}]


def squall_run(options, groups, plan, memory_at=None):
    with Gateway(options.squall) as gateway, tempfile.TemporaryDirectory() as folder:
        run = Run(options.squall, scenario(groups, plan, folder), gateway, memory_at=memory_at)
    if run.exit not in (0, 106):
        raise RuntimeError(f"squall failed, exit {run.exit}:\n{run.output}")
    return run


def deliveries(options, keys, seconds):
    """Deliveries per CPU-second; the one publisher (json) is a part of the cost."""
    groups = {"subscribers": {"count": SUBSCRIBERS, "subscribe": ["bench"], **keys}, "teller": teller(["warmup", "steady"])}
    run = squall_run(options, groups, phases(seconds))
    got, lost = run.count("received", "steady"), run.count("lost")
    if lost or got < 0.95 * SUBSCRIBERS * TELLS * seconds:
        raise RuntimeError(f"{got:,} deliveries, {lost:,} lost:\n{run.output}")
    return got / run.cpu_in("steady")


def publishes(options, keys, acked, seconds):
    """Publishes per CPU-second, to nobody; where they are acknowledged, all of them were."""
    publish = {"topic": "bench", "rate": f"{PUBLISHES}/s", "size": "100B", "in": ["warmup", "steady"]}
    run = squall_run(options, {"publishers": {"count": PUBLISHERS, "publish": publish, **keys}}, phases(seconds))
    done = run.count("sent", "steady")
    if acked and run.count("acked") < 0.99 * run.count("sent"):
        raise RuntimeError(f"{run.count('acked'):,} of {run.count('sent'):,} acknowledged:\n{run.output}")
    return done / run.cpu_in("steady")


def memory(options, keys):
    """Bytes of a subscribed connection at rest that has heard a message, Pss of the shard."""

    def pss(count):
        groups = {"subscribers": {"count": count, "subscribe": ["bench"], **keys}, "teller": teller(["arm"], publish={"topic": "bench", "rate": "1/s", "size": "100B", "in": ["arm"]})}
        plan = [{"name": "ramp", "for": "5s", "open": {"subscribers": "linear"}}, {"name": "arm", "for": "2s"}, {"name": "idle", "for": "5s"}]
        run = squall_run(options, groups, plan, memory_at=10)
        if run.count("opened") < count or not run.memory:
            raise RuntimeError(f"{run.count('opened'):,} of {count:,} opened:\n{run.output}")
        return run.memory

    return (pss(MANY) - pss(FEW)) / (MANY - FEW)


def own_client(options, kind, seconds):
    """The same deliveries to the protocol's npm client: deliveries per CPU-second, from when it was ready."""
    with Gateway(options.squall) as gateway, tempfile.TemporaryDirectory() as folder:
        environment = os.environ | {"NODE_MODULES": str(TOOLS / "node_modules")}
        client = start(["node", SCRIPT, kind, str(gateway.port), str(SUBSCRIBERS)], 1, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment)
        try:
            if client.stdout.readline() != "ready\n":
                raise RuntimeError(f"the npm client of {kind} did not start")
            before = cpu_seconds(client.pid)
            plan = [{"name": "steady", "for": f"{seconds}s"}]
            command = [options.squall, "run", scenario({"teller": teller(["steady"])}, plan, folder), "--quiet", "--out", folder, "--set", f"target.url={gateway.urls}"]
            said = start(command, 0, stdout=subprocess.PIPE, stderr=subprocess.STDOUT).communicate(timeout=120)[0]
            cpu = cpu_seconds(client.pid) - before
            got = int(client.communicate("", timeout=30)[0])
        finally:
            end(client)
    if got < 0.95 * SUBSCRIBERS * TELLS * seconds:
        raise RuntimeError(f"the npm client of {kind} got {got:,}:\n{said}")
    return got / cpu


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--squall", default=ROOT / "target/release/squall")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--only", action="append", choices=list(KINDS))
    parser.add_argument("--markdown")
    options = parser.parse_args()
    options.squall = str(Path(options.squall).resolve())
    seconds = 3 if options.quick else 6
    rounds = 1 if options.quick else options.rounds
    tools = (TOOLS / "node_modules/mqtt").exists()
    rows = [["", "deliveries per CPU-s", "npm client's", "publishes per CPU-s", "B a connection at rest"]]
    for name, (keys, npm, acked) in KINDS.items():
        if options.only and name not in options.only:
            continue
        row = [name, [], [], [], []]
        for _ in range(rounds):
            row[1].append(deliveries(options, keys, seconds))
            if npm and tools:
                row[2].append(own_client(options, npm, seconds))
            row[3].append(publishes(options, keys, acked, seconds))
            row[4].append(memory(options, keys))
        rows.append([name, *(spread(cell) if cell else "" for cell in row[1:])])
        print(time.strftime("%H:%M:%S"), *rows[-1], sep=" | ", file=sys.stderr, flush=True)
    lines = list(aligned(rows))
    if not tools:
        lines += ["", f"The npm clients are not installed: {HOW}"]
    print("\n".join(lines))
    if options.markdown:
        Path(options.markdown).write_text("\n".join(lines) + "\n")


main()

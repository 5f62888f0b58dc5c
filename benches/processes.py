"""The processes of a comparison: the floor's server and clients, squall's runs, and what each of them used."""

import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FLOOR = ROOT / "benches/floor/target/release/floor"
SCENARIOS = ROOT / "benches/scenarios"
TICK = os.sysconf("SC_CLK_TCK")


def start(command, core, stdin=subprocess.DEVNULL, **more):
    """Starts a process on one core (where there are two), before whatever else wants it, as far as root may say so.

    A client that has to queue for its core finds more to do at once when its turn comes, and is cheaper per message for it:
    that would be measuring the others. Linux weighs sessions against each other, so each process gets one, and a weight.
    """
    taskset = ["taskset", "-c", str(core)] if os.cpu_count() >= 2 else []
    process = subprocess.Popen([*taskset, *command], text=True, start_new_session=True, stdin=stdin, **more)
    if os.geteuid() == 0:
        try:
            os.setpriority(os.PRIO_PROCESS, process.pid, -20)
            Path(f"/proc/{process.pid}/autogroup").write_text("-20")
        except OSError:
            pass  # Kernels without autogroups weigh processes only.
    return process


def end(process):
    """Ends a process that may have ended already."""
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
    process.wait(30)


class Server:
    """The floor's server on core 0, on ports that were free a moment ago; ended with the `with` block."""

    # Below the range that the kernel takes ports of connections from; a new one each time, so that no connection of an
    # earlier measurement, lingering in TIME_WAIT, is in the way.
    next_port = 10_000 + os.getpid() % 10_000

    def __init__(self, *options, ports=1):
        Server.next_port += ports
        self.port, self.ports = Server.next_port - ports, ports
        self.options = options

    def __enter__(self):
        command = [FLOOR, "server", "--listen", self.address, "--ports", str(self.ports), *self.options]
        self.process = start(command, 0, stdout=subprocess.PIPE)
        if not self.process.stdout.readline().startswith("listening"):
            raise RuntimeError(f"the floor's server did not start on {self.address}")
        return self

    def __exit__(self, *_):
        end(self.process)
        self.result = [json.loads(line) for line in self.process.stdout.read().splitlines()]

    @property
    def address(self):
        return f"127.0.0.1:{self.port}"

    @property
    def urls(self):
        return [f"ws://127.0.0.1:{self.port + i}/" for i in range(self.ports)]


def floor_client(kind, server, **options):
    """One run of a floor's client on core 1: its JSON line."""
    words = [word for name, value in options.items() for word in (f"--{name}", str(value))]
    process = start([FLOOR, "client", kind, "--connect", server.address, *words], 1, stdout=subprocess.PIPE)
    try:
        said = process.communicate(timeout=300)[0]
    finally:
        end(process)
    if process.returncode != 0:
        raise RuntimeError(f"floor client {kind} failed")
    return json.loads(said.splitlines()[-1])


def children(pid):
    """Processes started by this one."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            if int(stat.read_text().rsplit(")", 1)[1].split()[1]) == pid:
                found.append(int(stat.parent.name))
        except OSError:
            pass  # It ended meanwhile.
    return found


def cpu_seconds(pid):
    """CPU time of a process, user and system; `None` when it is gone. Exact to a clock tick, 10 ms."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    except OSError:
        return None
    return (int(fields[11]) + int(fields[12])) / TICK


def pss(pid):
    """Memory of a process with its share of what it shares, bytes; `None` when it is gone."""
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except OSError:
        return None
    return next((int(line.split()[1]) * 1024 for line in text.splitlines() if line.startswith("Pss:")), None)


class Run:
    """One run of squall: what it reported, and what its processes used by the kernel's account."""

    def __init__(self, squall, scenario, server, sets=(), memory_at=None):
        sets = [f"target.url={json.dumps(server.urls)}", *sets]
        with tempfile.TemporaryDirectory() as out:
            path = scenario if isinstance(scenario, Path) else SCENARIOS / f"{scenario}.yaml"
            command = [squall, "run", path, "--quiet", "--out", out]
            command += [word for setting in sets for word in ("--set", setting)]
            process = start(command, 1, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
            watcher = threading.Thread(target=self._watch, args=(process, memory_at))
            self.shard_cpu, self.coordinator_cpu, self.memory = {}, 0.0, None
            watcher.start()
            try:
                self.output = process.communicate(timeout=600)[0]
            finally:
                end(process)
                watcher.join()
            self.exit = process.returncode
            summaries = list(Path(out).glob("*/summary.json"))
            if not summaries:
                raise RuntimeError(f"squall run {scenario} reported nothing, exit {self.exit}:\n{self.output}")
            self.summary = json.loads(summaries[0].read_text())
        self.valid = self.summary["validity"]["state"]
        self._cross_check()

    def _watch(self, process, memory_at):
        """Follows the processes from outside: CPU to the end, memory (of all shards) at a moment from the start."""
        began = time.monotonic()
        shards = []
        while process.poll() is None:
            if not shards or time.monotonic() - began < 3:
                shards = children(process.pid)
            for shard in shards:
                self.shard_cpu[shard] = cpu_seconds(shard) or self.shard_cpu.get(shard, 0.0)
            self.coordinator_cpu = cpu_seconds(process.pid) or self.coordinator_cpu
            if memory_at and self.memory is None and time.monotonic() - began >= memory_at:
                self.memory = sum(pss(shard) or 0 for shard in shards)
            time.sleep(0.1)

    def _cross_check(self):
        """A single shard's own account of its CPU must be the kernel's, or nothing made of it is worth anything."""
        if len(self.shard_cpu) != 1:
            return
        # How long the last, broken second was is not known; the kernel's figure may be a sample (100 ms) short.
        *whole, (_, last) = self._seconds()
        own, kernel = sum(seconds for _, seconds in whole), max(self.shard_cpu.values())
        if not own * 0.95 - 0.2 <= kernel <= (own + last) * 1.05 + 0.2:
            raise RuntimeError(f"the shard says it used {own:.2f} CPU seconds, the kernel says {kernel:.2f}")

    def _seconds(self):
        """(end, CPU seconds) of each reported second of the busiest shard."""
        before = 0.0
        for row in self.summary["timeline"]:
            yield row["at"], row["cpu"] * (row["at"] - before)
            before = row["at"]

    def cpu_in(self, *phases):
        """CPU seconds of the (one) shard in these phases, which begin and end with whole seconds."""
        named = [phase for phase in self.summary["phases"] if phase["name"] in phases]
        inside = lambda at: any(phase["start"] < at - 0.5 < phase["end"] for phase in named)
        return sum(seconds for at, seconds in self._seconds() if inside(at))

    def count(self, name, phase=None):
        counts = self.summary["counts_by_phase"].get(phase, {}) if phase else self.summary["counts"]
        return counts.get(name, 0)

    def timer(self, name, stat, phase):
        return self.summary["timers_by_phase"][phase].get(name, {}).get(stat, float("nan"))


def report_of(squall, scenario, sets, out, limit):
    """Runs a scenario of squall's own, target included: its exit code, and its summary from the folder `out`."""
    command = [squall, "run", scenario, "--quiet", "--out", out]
    command += [word for setting in sets for word in ("--set", setting)]
    before = set(Path(out).glob("*/summary.json"))
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL)
    try:
        code = process.wait(limit)
    finally:
        end(process)
    new = set(Path(out).glob("*/summary.json")) - before
    if not new:
        sys.exit(f"squall run {scenario} reported nothing, exit {code}")
    return code, json.loads(new.pop().read_text())


def aligned(rows):
    """Lines of a Markdown table; the first row is its head."""
    rows = [rows[0], ["---"] * len(rows[0]), *rows[1:]]
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    for row in rows:
        yield "| " + " | ".join(cell.ljust(width, "-" if cell == "---" else " ") for cell, width in zip(row, widths)) + " |"


def spread(values, form="{:,.0f}"):
    """Median, and lowest to highest where there are several."""
    middle = form.format(statistics.median(values))
    if len(values) == 1:
        return middle
    return f"{middle} ({form.format(min(values))}–{form.format(max(values))})"

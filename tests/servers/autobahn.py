"""The case files of the Autobahn testsuite, run by the Python package `kosoku`: a fuzzing server that judges a WebSocket client.

usage: python autobahn.py --out FOLDER CASE…        (a case is an id or a pattern: 1.1.1, 9.*)
Prints the port once it listens. When the client has asked for `/updateReports` the verdicts are written to FOLDER/index.json, in the
form of Autobahn's own reports, and it ends; so it does when its standard input does.
"""

import argparse
import asyncio
import json
import os
import sys

from kosoku import FailureError, run_fuzzingserver

parser = argparse.ArgumentParser()
parser.add_argument("--out", required=True)
parser.add_argument("cases", nargs="+")
options = parser.parse_args()


def verdict(case):
    return {
        "behavior": case.behavior.value,
        "behaviorClose": case.behavior_close.value,
        "result": f"{case.result} {case.result_close}",
        "duration": case.duration,
    }


async def judge():
    async with run_fuzzingserver(options.cases, None, host="127.0.0.1", port=0) as server:
        print(server.port, flush=True)
        try:
            results = await server.get_result()
        except FailureError as failure:
            results = failure.results
    index = {"squall": {case.case_id: verdict(case) for case in results}}
    with open(os.path.join(options.out, "new"), "w") as file:
        json.dump(index, file)
    # Whoever reads it reads all of it.
    os.rename(os.path.join(options.out, "new"), os.path.join(options.out, "index.json"))


async def main():
    stdin = asyncio.create_task(asyncio.to_thread(sys.stdin.read))
    judged = asyncio.create_task(judge())
    await asyncio.wait([stdin, judged], return_when=asyncio.FIRST_COMPLETED)
    if judged.done():
        judged.result()
    # Not by returning: that would wait for the thread that reads.
    os._exit(0)


asyncio.run(main())

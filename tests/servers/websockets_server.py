"""The Python package `websockets` as a target: echo, or publish and subscribe in squall's default JSON dialect.

usage: python websockets_server.py [--port N] [--cert FILE --key FILE] [--subprotocol NAME] [--deflate] [--raw echo|broadcast]
Prints the port once it listens; ends when its standard input does. On SIGTERM it says goodbye to its clients, and ends.
"""

import argparse
import asyncio
import json
import os
import signal
import ssl
import sys
from collections import defaultdict

from websockets.asyncio.server import serve
from websockets.exceptions import ConnectionClosed

parser = argparse.ArgumentParser()
parser.add_argument("--port", type=int, default=0)
parser.add_argument("--cert")
parser.add_argument("--key")
parser.add_argument("--subprotocol")
parser.add_argument("--deflate", action="store_true")
parser.add_argument("--raw", choices=["echo", "broadcast"])
options = parser.parse_args()

clients = set()
subscribers = defaultdict(set)
sequence = defaultdict(int)


async def send_all(sockets, text):
    # Not `broadcast()`, which skips who is slow: here nothing may get lost.
    for socket in list(sockets):
        try:
            await socket.send(text)
        except ConnectionClosed:
            pass


async def dialect(socket, message):
    match message["type"]:
        case "subscribe":
            subscribers[message["topic"]].add(socket)
            answer = {"type": "subscribed", "topic": message["topic"], "id": message["id"]}
            await socket.send(json.dumps(answer))
        case "publish":
            topic = message["topic"]
            sequence[topic] += 1
            delivery = {"type": "message", "topic": topic, "seq": sequence[topic], "payload": message["payload"]}
            await send_all(subscribers[topic], json.dumps(delivery))
        case _:
            await socket.send(json.dumps(message))  # `echo`, and whatever else comes


async def handle(socket):
    clients.add(socket)
    try:
        async for message in socket:
            if options.raw == "echo":
                await socket.send(message)
            elif options.raw == "broadcast":
                await send_all(clients, message)
            else:
                await dialect(socket, json.loads(message))
    except ConnectionClosed:
        pass
    finally:
        clients.discard(socket)
        for sockets in subscribers.values():
            sockets.discard(socket)


async def main():
    tls = None
    if options.cert:
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(options.cert, options.key)
    protocols = [options.subprotocol] if options.subprotocol else None
    deflate = "deflate" if options.deflate else None
    async with serve(handle, "127.0.0.1", options.port, ssl=tls, subprotocols=protocols, compression=deflate) as server:
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, server.close)
        print(server.sockets[0].getsockname()[1], flush=True)
        stdin = asyncio.create_task(asyncio.to_thread(sys.stdin.read))
        await asyncio.wait([stdin, asyncio.create_task(server.wait_closed())], return_when=asyncio.FIRST_COMPLETED)
        # Not by returning: that would wait for the thread that reads.
        os._exit(0)


asyncio.run(main())

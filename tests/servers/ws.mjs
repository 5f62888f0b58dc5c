// The npm package `ws` as a target: echo, or publish and subscribe in squall's default JSON dialect.
//
// usage: node ws.mjs [--port N] [--cert FILE --key FILE] [--subprotocol NAME] [--deflate] [--raw echo|broadcast]
// Prints the port once it listens; ends when its standard input does. On SIGTERM it tells its clients that it restarts, and ends.
import { createServer as plain } from 'node:http';
import { createServer as secure } from 'node:https';
import { readFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { WebSocketServer } from 'ws';

const { values: options } = parseArgs({
  options: {
    port: { type: 'string', default: '0' },
    cert: { type: 'string' },
    key: { type: 'string' },
    subprotocol: { type: 'string' },
    deflate: { type: 'boolean', default: false },
    raw: { type: 'string' },
  },
});

const server = options.cert
  ? secure({ cert: readFileSync(options.cert), key: readFileSync(options.key) })
  : plain();
const sockets = new WebSocketServer({
  server,
  perMessageDeflate: options.deflate && { threshold: 0 },
  // Without a choice of ours `ws` would take the first one offered.
  handleProtocols: (offered) => (offered.has(options.subprotocol) ? options.subprotocol : false),
});

/** Topic to its subscribers and the number of its last message. */
const topics = new Map();
const topic = (name) => {
  if (!topics.has(name)) topics.set(name, { seq: 0, subscribers: new Set() });
  return topics.get(name);
};

/** One message of the dialect. */
function dialect(socket, message) {
  const reply = (answer) => socket.send(JSON.stringify(answer));
  switch (message.type) {
    case 'subscribe':
      topic(message.topic).subscribers.add(socket);
      return reply({ type: 'subscribed', topic: message.topic, id: message.id });
    case 'publish': {
      const to = topic(message.topic);
      to.seq += 1;
      const text = JSON.stringify({ type: 'message', topic: message.topic, seq: to.seq, payload: message.payload });
      for (const subscriber of to.subscribers) subscriber.send(text);
      return undefined;
    }
    default:
      return reply(message); // `echo`, and whatever else comes
  }
}

sockets.on('connection', (socket) => {
  socket.on('message', (data, isBinary) => {
    if (options.raw === 'echo') return socket.send(data, { binary: isBinary });
    if (options.raw === 'broadcast') {
      for (const other of sockets.clients) other.send(data, { binary: isBinary });
      return undefined;
    }
    return dialect(socket, JSON.parse(data.toString()));
  });
  socket.on('close', () => {
    for (const { subscribers } of topics.values()) subscribers.delete(socket);
  });
  socket.on('error', () => {});
});

server.listen(Number(options.port), '127.0.0.1', () => console.log(server.address().port));
process.on('SIGTERM', () => {
  server.close(); // no newcomers
  for (const socket of sockets.clients) socket.close(1012, 'restart');
  sockets.close(() => process.exit(0)); // when all have answered
  setTimeout(() => process.exit(0), 10_000);
});
process.stdin.resume();
process.stdin.on('end', () => process.exit(0));

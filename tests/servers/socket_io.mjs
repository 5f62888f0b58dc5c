// The npm package `socket.io` as a target: rooms, acknowledgements, recovery, in squall's default events.
//
// usage: node socket_io.mjs [--port N] [--cert FILE --key FILE] [--token TEXT] [--recovery MS] [--ping MS] [--refuse TOPIC] [--transports LIST]
// In every namespace: subscribe (topic), publish (topic, payload), and `message` (topic, payload) to whoever is in the room. With a
// token, who does not say it is refused; with a topic to refuse, its subscriptions and publishes are. Pings come every MS, and are
// to be answered in twice that. Of the transports (polling,websocket) only those listed are served.
// Prints the port once it listens; ends when its standard input does. On SIGTERM it says goodbye and ends.
import { createServer as plain } from 'node:http';
import { createServer as secure } from 'node:https';
import { readFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { Server } from 'socket.io';

const { values: options } = parseArgs({
  options: {
    port: { type: 'string', default: '0' },
    cert: { type: 'string' },
    key: { type: 'string' },
    token: { type: 'string' },
    recovery: { type: 'string' },
    ping: { type: 'string', default: '25000' },
    refuse: { type: 'string' },
    transports: { type: 'string', default: 'polling,websocket' },
  },
});

const server = options.cert
  ? secure({ cert: readFileSync(options.cert), key: readFileSync(options.key) })
  : plain();
const io = new Server(server, {
  pingInterval: Number(options.ping),
  pingTimeout: 2 * Number(options.ping),
  transports: options.transports.split(','),
  ...(options.recovery && {
    connectionStateRecovery: { maxDisconnectionDuration: Number(options.recovery), skipMiddlewares: false },
  }),
});

function serve(namespace) {
  namespace.use((socket, next) => {
    const wrong = options.token && socket.handshake.auth.token !== options.token;
    next(wrong ? new Error('Not authorized') : undefined);
  });
  namespace.on('connection', (socket) => {
    const refused = (topic) => topic === options.refuse;
    socket.on('subscribe', (topic, answer) => {
      if (refused(topic)) return answer?.({ error: 'no such topic' });
      socket.join(topic);
      return answer?.({ error: null });
    });
    socket.on('publish', (topic, payload, answer) => {
      if (refused(topic)) return answer?.({ error: 'no such topic' });
      socket.nsp.to(topic).emit('message', topic, payload);
      return answer?.('ok');
    });
  });
}
serve(io.of('/'));
serve(io.of(/^\/\w+$/));

server.listen(Number(options.port), '127.0.0.1', () => console.log(server.address().port));
process.on('SIGTERM', () => io.close(() => process.exit(0)));
process.stdin.resume();
process.stdin.on('end', () => process.exit(0));

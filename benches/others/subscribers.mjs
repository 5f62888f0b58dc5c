// Subscribers over a protocol's own npm client, all in one process: what they count is compared with squall's.
//
// usage: node subscribers.mjs mqtt|stomp|socket_io|sse PORT COUNT
// Prints `ready` when all are subscribed to `bench`. When its standard input ends it prints how many messages came, and ends.
// Modules are looked up from NODE_MODULES.
import { createRequire } from 'node:module';
import { pathToFileURL } from 'node:url';

const [kind, port, count] = process.argv.slice(2);
const from = createRequire(pathToFileURL(`${process.env.NODE_MODULES}/x.js`));
let got = 0;
const hear = () => {
  got += 1;
};

// Each resolves when its subscription stands.
const kinds = {
  mqtt: async () => {
    const mqtt = from('mqtt');
    const client = mqtt.connect(`ws://127.0.0.1:${port}/`, { protocolVersion: 5, reconnectPeriod: 0 });
    client.on('message', hear);
    await new Promise((done) => client.on('connect', done));
    await client.subscribeAsync('bench', { qos: 0 });
  },
  stomp: async () => {
    const { Client } = from('@stomp/stompjs');
    const client = new Client({
      brokerURL: `ws://127.0.0.1:${port}/`,
      webSocketFactory: () => new (from('ws').WebSocket)(`ws://127.0.0.1:${port}/`, ['v12.stomp']),
      reconnectDelay: 0,
    });
    await new Promise((done) => {
      client.onConnect = () => {
        client.subscribe('bench', hear);
        done();
      };
      client.activate();
    });
  },
  socket_io: async () => {
    const { io } = from('socket.io-client');
    const socket = io(`http://127.0.0.1:${port}/`, { transports: ['websocket'], forceNew: true, reconnection: false });
    socket.on('message', hear);
    await new Promise((done) => socket.on('connect', done));
    await socket.emitWithAck('subscribe', 'bench');
  },
  sse: async () => {
    const { EventSource } = from('eventsource');
    const source = new EventSource(`http://127.0.0.1:${port}/events?topic=bench`);
    source.addEventListener('message', hear);
    await new Promise((done) => source.addEventListener('open', done));
  },
};

await Promise.all(Array.from({ length: Number(count) }, () => kinds[kind]()));
console.log('ready');
process.stdin.resume();
process.stdin.on('end', () => {
  console.log(got);
  process.exit(0);
});

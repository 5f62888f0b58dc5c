// The protocols' own clients from npm (phoenix, centrifuge, pusher-js), as they are: one of them subscribes to `news`, publishes
// every 200 ms, beats, and counts what it gets from others.
//
// usage: node official.mjs phoenix|centrifugo|pusher PORT
// Prints `ready` when it is subscribed. When its standard input ends it prints how many messages it got, and ends.
import WebSocket from 'ws';

const [protocol, port] = process.argv.slice(2);
globalThis.WebSocket = WebSocket;
let got = 0;
const hear = (body) => {
  if (body !== 'from official') got += 1;
};
const ready = (publish) => {
  console.log('ready');
  setInterval(publish, 200);
};

const clients = {
  async phoenix() {
    const { Socket } = await import('phoenix');
    const socket = new Socket(`ws://127.0.0.1:${port}/socket`, { transport: WebSocket, heartbeatIntervalMs: 300 });
    socket.connect();
    const channel = socket.channel('news', {});
    channel.on('new_msg', ({ body }) => hear(body));
    channel.join().receive('ok', () => ready(() => channel.push('new_msg', { body: 'from official' })));
  },
  async centrifugo() {
    const { Centrifuge } = await import('centrifuge');
    const client = new Centrifuge(`ws://127.0.0.1:${port}/connection/websocket`, { websocket: WebSocket });
    const subscription = client.newSubscription('news', { recoverable: true, positioned: true });
    subscription.on('publication', ({ data }) => hear(data));
    subscription.on('subscribed', ({ wasRecovering }) => {
      if (wasRecovering) return;
      ready(() => subscription.publish('from official').catch(() => {}));
      // Once it loses its connection, so that it shows how it recovers.
      setTimeout(() => client._transport.close(), 700);
    });
    subscription.subscribe();
    client.connect();
  },
  async pusher() {
    const { default: Pusher } = await import('pusher-js');
    const client = new Pusher('app-key', {
      cluster: '', wsHost: '127.0.0.1', wsPort: Number(port), forceTLS: false, enabledTransports: ['ws'], enableStats: false, activityTimeout: 150, pongTimeout: 1000,
    });
    const channel = client.subscribe('news');
    channel.bind('client-message', ({ body }) => hear(body));
    channel.bind('pusher:subscription_succeeded', () => ready(() => channel.trigger('client-message', { body: 'from official' })));
  },
};
await clients[protocol]();
process.stdin.resume();
process.stdin.on('end', () => {
  console.log(got);
  process.exit(0);
});

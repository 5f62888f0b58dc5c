// Stands in for Phoenix, Centrifugo and Pusher, whose own servers the registries do not have: their protocols as documented, strictly.
// It is held to them by their own clients (`official.mjs`), which work with it as they are.
//
// usage: node dialects.mjs phoenix|centrifugo|pusher [--ping MS]
// Prints the port once it listens; ends when its standard input does. `GET /shapes` tells what each side sent, by shape: clients whose
// address has `agent=squall`, and others. A message that the protocol does not have closes its connection with 4000.
import { createServer } from 'node:http';
import { parseArgs } from 'node:util';
import { WebSocketServer } from 'ws';

const { values: options, positionals } = parseArgs({
  allowPositionals: true,
  options: { ping: { type: 'string', default: '1000' } },
});
const protocol = positionals[0];
const period = Number(options.ping);

/** Words that are the protocol's; other texts are anybody's. */
const WORDS = new Set(['phx_join', 'phoenix', 'heartbeat', 'new_msg', 'pusher:subscribe', 'pusher:ping', 'pusher:pong', 'client-message']);

/** A message with all that is not the protocol's taken out. */
function shape(value) {
  if (Array.isArray(value)) return value.map(shape);
  if (value && typeof value === 'object') {
    return Object.fromEntries(Object.keys(value).sort().map((key) => [key, shape(value[key])]));
  }
  if (typeof value === 'string') return WORDS.has(value) ? value : 'text';
  return typeof value === 'number' ? 'number' : value;
}
const shapes = { squall: new Set(), official: new Set() };

const wrong = (socket, why) => socket.close(4000, why);
const channels = new Map();
const members = (name) => {
  if (!channels.has(name)) channels.set(name, { sockets: new Set(), history: [], offset: 0, epoch: 'ep0c' });
  return channels.get(name);
};

const phoenix = {
  opened(socket, url) {
    if (url.searchParams.get('vsn') !== '2.0.0') wrong(socket, 'another serializer');
  },
  heard(socket, message) {
    if (!Array.isArray(message) || message.length !== 5) return wrong(socket, 'not five');
    const [joinRef, ref, topic, event, payload] = message;
    const reply = (status, response) =>
      socket.send(JSON.stringify([joinRef, ref, topic, 'phx_reply', { status, response }]));
    if (typeof ref !== 'string' || typeof payload !== 'object') return wrong(socket, 'types');
    if (topic === 'phoenix') return event === 'heartbeat' ? reply('ok', {}) : wrong(socket, event);
    if (event === 'phx_join') {
      if (topic.startsWith('forbidden')) return reply('error', { reason: 'unauthorized' });
      members(topic).sockets.add(socket);
      return reply('ok', {});
    }
    if (!members(topic).sockets.has(socket)) return reply('error', { reason: 'unmatched topic' });
    const text = JSON.stringify([null, null, topic, event, payload]);
    for (const member of members(topic).sockets) member.send(text);
    return reply('ok', payload); // as a handler that replies with what it was told
  },
};

const centrifugo = {
  opened(socket) {
    // Replies and pushes of one turn leave together, one a line.
    socket.queue = [];
    socket.say = (value) => {
      if (!socket.queue.length) setImmediate(() => socket.send(socket.queue.splice(0).join('\n')));
      socket.queue.push(JSON.stringify(value));
    };
    socket.pinging = setInterval(() => {
      if (socket.unanswered) return socket.close(3012, 'no pong');
      if (socket.connected) {
        socket.unanswered = true;
        socket.say({});
      }
      return undefined;
    }, period);
    socket.on('close', () => clearInterval(socket.pinging));
  },
  heard(socket, command) {
    if (Object.keys(command).length === 0) return (socket.unanswered = false);
    const { id } = command;
    if (!Number.isInteger(id) || id < 1 || id > 0xffffffff) return wrong(socket, 'id');
    if (command.connect) {
      socket.connected = true;
      return socket.say({ id, connect: { client: 'c0ffee', version: '0.0.0', ping: period / 1000, pong: true } });
    }
    if (!socket.connected) return socket.close(3501, 'bad request');
    if (command.subscribe) {
      const { channel: name, recover, offset, epoch, recoverable } = command.subscribe;
      if (name.startsWith('forbidden')) return socket.say({ id, error: { code: 103, message: 'permission denied' } });
      const channel = members(name);
      channel.sockets.add(socket);
      const result = { epoch: channel.epoch };
      if (recoverable) Object.assign(result, { recoverable: true, positioned: true });
      if (channel.offset) result.offset = channel.offset;
      if (recover) {
        result.was_recovering = true;
        if (epoch === channel.epoch) {
          result.recovered = true;
          const missed = channel.history.filter((each) => each.offset > (offset ?? 0));
          if (missed.length) result.publications = missed;
        }
      }
      return socket.say({ id, subscribe: result });
    }
    if (command.publish) {
      const channel = members(command.publish.channel);
      channel.offset += 1;
      const pub = { data: command.publish.data, offset: channel.offset };
      channel.history.push(pub);
      for (const member of channel.sockets) member.say({ push: { channel: command.publish.channel, pub } });
      return socket.say({ id, publish: {} });
    }
    return wrong(socket, Object.keys(command).join());
  },
};

const pusher = {
  opened(socket) {
    const data = JSON.stringify({ socket_id: '123.456', activity_timeout: 120 });
    socket.send(JSON.stringify({ event: 'pusher:connection_established', data }));
    const pinging = setInterval(() => {
      if (socket.unanswered) return socket.close(4201, 'pong reply not received');
      socket.unanswered = true;
      socket.send(JSON.stringify({ event: 'pusher:ping', data: {} }));
      return undefined;
    }, period);
    socket.on('close', () => clearInterval(pinging));
  },
  heard(socket, { event, data, channel }) {
    switch (event) {
      case 'pusher:pong':
        socket.unanswered = false;
        return undefined;
      case 'pusher:ping':
        return socket.send(JSON.stringify({ event: 'pusher:pong', data: {} }));
      case 'pusher:subscribe': {
        const name = data.channel;
        if (name.startsWith('forbidden')) {
          const why = { type: 'AuthError', error: 'forbidden', status: 401 };
          return socket.send(JSON.stringify({ event: 'pusher:subscription_error', channel: name, data: why }));
        }
        members(name).sockets.add(socket);
        return socket.send(JSON.stringify({ event: 'pusher_internal:subscription_succeeded', channel: name, data: '{}' }));
      }
      default: {
        // The service itself takes these on private channels only.
        if (!event.startsWith('client-') || !channel) return wrong(socket, event);
        if (!members(channel).sockets.has(socket)) return wrong(socket, 'not subscribed');
        const text = JSON.stringify({ event, channel, data });
        for (const member of members(channel).sockets) if (member !== socket) member.send(text);
        return undefined;
      }
    }
  },
};

const speaker = { phoenix, centrifugo, pusher }[protocol];
const server = createServer((request, response) => {
  const all = Object.fromEntries(Object.entries(shapes).map(([who, set]) => [who, [...set].sort()]));
  response.end(JSON.stringify(all));
});
const sockets = new WebSocketServer({ server });
sockets.on('connection', (socket, request) => {
  const url = new URL(request.url, 'ws://here');
  const seen = shapes[url.searchParams.get('agent') === 'squall' ? 'squall' : 'official'];
  speaker.opened(socket, url);
  socket.on('message', (data) => {
    try {
      for (const line of protocol === 'centrifugo' ? data.toString().split('\n') : [data.toString()]) {
        const message = JSON.parse(line);
        seen.add(JSON.stringify(shape(message)));
        speaker.heard(socket, message);
      }
    } catch (error) {
      wrong(socket, String(error).slice(0, 100));
    }
  });
  socket.on('close', () => channels.forEach((channel) => channel.sockets.delete(socket)));
  socket.on('error', () => {});
});
server.listen(0, '127.0.0.1', () => console.log(server.address().port));
process.stdin.resume();
process.stdin.on('end', () => process.exit(0));

// The npm package `graphql-ws` as a target: subscriptions and mutations over graphql-transport-ws.
//
// usage: node graphql.mjs [--ping MS]
// Prints the port once it listens; ends when its standard input does.
import { createServer } from 'node:http';
import { parseArgs } from 'node:util';
import { buildSchema } from 'graphql';
import { handleProtocols } from 'graphql-ws';
import { useServer } from 'graphql-ws/use/ws';
import { WebSocketServer } from 'ws';

const { values: options } = parseArgs({ options: { ping: { type: 'string', default: '12000' } } });

const schema = buildSchema(`
  type Query { hello: String!  echo(payload: String!): String! }
  type Mutation { publish(topic: String!, payload: String!): String! }
  type Subscription { message(topic: String!): String! }
`);

/** Topic to the queues of its subscribers. */
const topics = new Map();

/** What a subscriber of a topic is told, until it goes. */
function subscribe(topic) {
  const queue = { waiting: [], wake: undefined, over: false };
  if (!topics.has(topic)) topics.set(topic, new Set());
  topics.get(topic).add(queue);
  const next = async () => {
    while (!queue.waiting.length && !queue.over) await new Promise((wake) => (queue.wake = wake));
    if (queue.over) return { done: true, value: undefined };
    return { done: false, value: { message: queue.waiting.shift() } };
  };
  const end = async () => {
    queue.over = true;
    queue.wake?.();
    topics.get(topic).delete(queue);
    return { done: true, value: undefined };
  };
  return { next, return: end, throw: end, [Symbol.asyncIterator]() { return this; } };
}

const roots = {
  query: { hello: 'world', echo: ({ payload }) => payload },
  mutation: {
    // What was published is in the answer as well: an answer is not a delivery.
    publish: ({ topic, payload }) => {
      for (const queue of topics.get(topic) ?? []) {
        queue.waiting.push(payload);
        queue.wake?.();
      }
      return payload;
    },
  },
  subscription: { message: ({ topic }) => subscribe(topic) },
};

const server = createServer();
useServer(
  { schema, roots },
  new WebSocketServer({ server, path: '/graphql', handleProtocols }),
  Number(options.ping),
);
server.listen(0, '127.0.0.1', () => console.log(server.address().port));
process.stdin.resume();
process.stdin.on('end', () => process.exit(0));

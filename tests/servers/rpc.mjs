// The npm package `rpc-websockets` as a target: JSON-RPC 2.0 methods, and its events (`rpc.on`), which are notifications.
//
// Prints the port once it listens; ends when its standard input does.
import { Server } from 'rpc-websockets';

const server = new Server({ port: 0, host: '127.0.0.1' });
server.event('news');
server.register('echo', ([payload]) => payload);
server.register('publish', ([event, payload]) => {
  server.emit(event, payload);
  return true;
});
server.on('listening', () => console.log(server.wss.address().port));
process.stdin.resume();
process.stdin.on('end', () => process.exit(0));

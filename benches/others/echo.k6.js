// 100 connections, one message under way on each: k6 run -e TARGET=ws://… -e SECONDS=15 echo.k6.js
import { Trend } from 'k6/metrics';

let module;
try {
  module = require('k6/websockets');
} catch {
  module = require('k6/experimental/websockets'); // before k6 2
}
const { WebSocket } = module;

const seconds = Number(__ENV.SECONDS);
const payload = 'x'.repeat(64);
const rtt = new Trend('rtt', true);

export const options = { scenarios: { echo: { executor: 'per-vu-iterations', vus: 100, iterations: 1, maxDuration: `${seconds + 20}s` } } };

export default function () {
  const socket = new WebSocket(__ENV.TARGET);
  const until = Date.now() + seconds * 1000;
  let sent;
  const ask = () => { sent = Date.now(); socket.send(payload); };
  socket.onopen = ask;
  socket.onmessage = () => {
    const now = Date.now();
    rtt.add(now - sent);
    if (now < until) ask(); else socket.close();
  };
}

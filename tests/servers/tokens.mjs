// A service that lets in whoever shows a good token, by Node's own cryptography and the npm package `ws`.
//
// usage: node tokens.mjs --folder FOLDER
// Makes itself keys and leaves the private ones in the folder, as an identity provider hands them out for a load test: `es256.pem`
// (P-256, PKCS#8), `rs256.pem` (RSA, PKCS#8), `rsa.pem` (the same in PKCS#1), and `secret`. Who connects to /hs256, /rs256 or /es256
// shows a JWT signed so; anything else shown there is answered by 401 and its own text. At any other path whatever is shown is good.
// GET /seen says who was let in: path, header `x-index`, the token, and header and claims of a JWT.
// Prints the port once it listens; ends when its standard input does.
import { createHmac, generateKeyPairSync, randomBytes, timingSafeEqual, verify } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { WebSocketServer } from 'ws';

const { values: options } = parseArgs({ options: { folder: { type: 'string' } } });
const leave = (name, text) => writeFileSync(join(options.folder, name), text);

const rsa = generateKeyPairSync('rsa', { modulusLength: 2048 });
const ec = generateKeyPairSync('ec', { namedCurve: 'P-256' });
const secret = randomBytes(32).toString('hex');
leave('rs256.pem', rsa.privateKey.export({ type: 'pkcs8', format: 'pem' }));
leave('rsa.pem', rsa.privateKey.export({ type: 'pkcs1', format: 'pem' }));
leave('es256.pem', ec.privateKey.export({ type: 'pkcs8', format: 'pem' }));
leave('secret', secret);

/** By path: whether this is the signature of that. */
const signed = {
  HS256: (text, signature) => {
    const own = createHmac('sha256', secret).update(text).digest();
    return own.length === signature.length && timingSafeEqual(own, signature);
  },
  RS256: (text, signature) => verify('sha256', text, rsa.publicKey, signature),
  // RFC 7518 has r and s as they are, not in DER.
  ES256: (text, signature) => verify('sha256', text, { key: ec.publicKey, dsaEncoding: 'ieee-p1363' }, signature),
};

const part = (text) => JSON.parse(Buffer.from(text, 'base64url').toString());

/** Header and claims of a token that is good at this path; undefined if it is not. */
function checked(algorithm, token) {
  try {
    const [head, claims, signature] = token.split('.');
    const [header, said] = [part(head), part(claims)];
    const text = Buffer.from(`${head}.${claims}`);
    const good = header.alg === algorithm
      && signed[algorithm](text, Buffer.from(signature, 'base64url'))
      && said.exp > Date.now() / 1000;
    return good ? { header, claims: said } : undefined;
  } catch {
    return undefined;
  }
}

const seen = [];
const server = createServer((_, answer) => answer.end(JSON.stringify(seen)));
const sockets = new WebSocketServer({ noServer: true });
server.on('upgrade', (request, socket, head) => {
  const token = (request.headers.authorization ?? '').replace(/^Bearer /, '');
  const algorithm = request.url.slice(1).toUpperCase();
  const pass = algorithm in signed ? checked(algorithm, token) : {};
  if (!pass) {
    return socket.end(`HTTP/1.1 401 Unauthorized\r\nContent-Length: ${token.length}\r\nConnection: close\r\n\r\n${token}`);
  }
  seen.push({ path: request.url, index: request.headers['x-index'], token, ...pass });
  return sockets.handleUpgrade(request, socket, head, () => {});
});
server.listen(0, '127.0.0.1', () => console.log(server.address().port));
process.stdin.resume();
process.stdin.on('end', () => process.exit(0));

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { type ClientHttp2Session, connect as connectHttp2, constants } from 'node:http2';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { Client, credentials } from '@grpc/grpc-js';
import { silentLogger } from '../log/index.ts';
import { services } from '../wire/index.ts';
import { CriServer, Listener } from './index.ts';

const { Version } = services.RuntimeService;
const STREAMS = 20_000;

test('[a68] a client that opens and resets streams without end is cut off, and others are answered meanwhile', async () => {
  const directory = mkdtempSync(join(tmpdir(), 'crio-reset-'));
  const path = join(directory, 'crio.sock');
  const handlers = { RuntimeService: { Version: async ({ version }: { version: string }) => ({ version }) }, ImageService: {} };
  const server = new CriServer(handlers, { maxReceive: 1 << 20, maxSend: 1 << 20 }, silentLogger);
  const inspect = () => {};
  const listener = new Listener(path, (socket) => server.serve(socket), inspect, silentLogger);
  await listener.listen();
  const client = new Client(`unix:${path}`, credentials.createInsecure());
  const before = process.memoryUsage().rss;
  const attacker = connectHttp2('http://crio', { createConnection: () => connect(path) });
  attacker.on('error', () => {});
  await once(attacker, 'connect');
  const opened = await reset(attacker, async () => void (await version(client)));
  assert.ok(attacker.closed || attacker.destroyed, `the session is still open after ${opened} streams`);
  assert.equal(await version(client), 'v1');
  assert.ok(process.memoryUsage().rss - before < 128 * 1024 * 1024);
  attacker.destroy();
  client.close();
  const closed = listener.close();
  await server.stop(1000);
  await closed;
  rmSync(directory, { recursive: true });
});

/** Until the session is closed by the other side, or all are through; another client asks now and then. */
async function reset(session: ClientHttp2Session, meanwhile: () => Promise<void>): Promise<number> {
  for (let n = 0; n < STREAMS; n++) {
    if (session.closed || session.destroyed) return n;
    const stream = session.request({ ':method': 'POST', ':path': Version.path, 'content-type': 'application/grpc', te: 'trailers' });
    stream.on('error', () => {});
    stream.close(constants.NGHTTP2_CANCEL);
    if (n % 500 === 499) await meanwhile();
  }
  return STREAMS;
}

async function version(client: Client): Promise<string> {
  const { promise, resolve, reject } = Promise.withResolvers<string>();
  const encode = (message: { version: string }) => Version.request.encode(message);
  client.makeUnaryRequest(
    Version.path,
    encode,
    (bytes) => Version.response.decode(bytes),
    { version: 'v1' },
    { deadline: Date.now() + 20_000 },
    (error, answer) => (error === null && answer !== undefined ? resolve(answer.version) : reject(error ?? new Error('no answer'))),
  );
  return await promise;
}

import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { type Server as NetServer, createServer } from 'node:net';
import { createServer as createHttpServer } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { Server, ServerCredentials, status } from '@grpc/grpc-js';
import { Failure } from '../../errors/index.ts';
import { VersionRequest, VersionResponse, services } from '../../wire/index.ts';
import { CriConnection } from './connection.ts';
import { socketPath } from './endpoint.ts';
import { pullEvents } from './pull-events.ts';

const dir = mkdtempSync(join(tmpdir(), 'crio-cli-'));
const { Version } = services.RuntimeService;
const grpcSocket = join(dir, 'grpc.sock');
const server = new Server();

before(async () => {
  server.addService(
    {
      Version: {
        path: Version.path,
        requestStream: false,
        responseStream: false,
        requestSerialize: (message: VersionRequest) => VersionRequest.encode(message),
        requestDeserialize: (bytes: Buffer) => VersionRequest.decode(bytes),
        responseSerialize: (message: VersionResponse) => VersionResponse.encode(message),
        responseDeserialize: (bytes: Buffer) => VersionResponse.decode(bytes),
      },
    },
    {
      Version: (call: { request: VersionRequest }, answer: (error: object | null, value?: object) => void) => {
        if (call.request.version === 'late') return;
        if (call.request.version === 'gone') answer({ code: status.NOT_FOUND, details: 'no such pod' });
        else answer(null, { runtimeName: `hello ${call.request.version}` });
      },
    },
  );
  await new Promise((resolve, reject) =>
    server.bindAsync(`unix:${grpcSocket}`, ServerCredentials.createInsecure(), (error) =>
      error === null ? resolve(undefined) : reject(error),
    ),
  );
});
after(() => {
  server.forceShutdown();
  rmSync(dir, { recursive: true });
});

async function listening(backend: NetServer, name: string): Promise<string> {
  const path = join(dir, name);
  await new Promise<void>((resolve) => backend.listen(path, resolve));
  return path;
}

async function failure(socket: string, version = ''): Promise<Failure> {
  using cri = new CriConnection(socket);
  const error: unknown = await cri.call(Version, { version }, { deadlineMs: 2000 }).then(
    () => undefined,
    (reason: unknown) => reason,
  );
  assert.ok(error instanceof Failure, String(error));
  return error;
}

describe('a call to a CRI socket', () => {
  it('is answered', async () => {
    using cri = new CriConnection(grpcSocket);
    assert.equal((await cri.call(Version, { version: 'v1' })).runtimeName, 'hello v1');
  });

  it("fails with the daemon's own kind and text", async () => {
    const error = await failure(grpcSocket, 'gone');
    assert.deepEqual([error.kind, error.message], ['NotFound', 'no such pod']);
  });

  it('ends with its deadline and with its signal', async () => {
    using cri = new CriConnection(grpcSocket);
    await assert.rejects(cri.call(Version, { version: 'late' }, { deadlineMs: 50 }), { kind: 'DeadlineExceeded' });
    const stop = new AbortController();
    const call = cri.call(Version, { version: 'late' }, { signal: stop.signal });
    stop.abort();
    await assert.rejects(call, { kind: 'Canceled' });
  });

  it('says what to do where nobody answers', async () => {
    const missing = await failure(join(dir, 'missing.sock'));
    assert.equal(missing.code, 'ENOENT');
    assert.match(missing.advice ?? '', /Start the daemon/);
    const file = join(dir, 'file');
    writeFileSync(file, '');
    assert.equal((await failure(file)).code, 'ECONNREFUSED');
  });

  it('says that the socket is of another program', async () => {
    const web = createHttpServer((_, response) => response.end('hello'));
    const error = await failure(await listening(web, 'http.sock'));
    web.close();
    assert.match(error.message, /does not speak CRI/);
    assert.match(error.advice ?? '', /--socket/);
    const rude = createServer((socket) => socket.destroy());
    assert.match((await failure(await listening(rude, 'rude.sock'))).message, /does not speak CRI/);
    rude.close();
  });
});

describe('the socket', () => {
  it('is named by option, environment, or default', () => {
    assert.equal(socketPath('/a', { CONTAINER_RUNTIME_ENDPOINT: '/b' }), '/a');
    assert.equal(socketPath(undefined, { CONTAINER_RUNTIME_ENDPOINT: 'unix:///b' }), '/b');
    assert.equal(socketPath('unix:/c', {}), '/c');
    assert.equal(socketPath(undefined, { CONTAINER_RUNTIME_ENDPOINT: '' }), '/var/run/crio/crio.sock');
  });

  it('is refused where it cannot be one', () => {
    for (const text of ['tcp://127.0.0.1:80', 'crio.sock', '', `/${'x'.repeat(107)}`])
      assert.throws(() => socketPath(text, {}), { code: 'usage' }, text);
    assert.equal(socketPath(`/${'x'.repeat(106)}`, {}).length, 107);
  });
});

describe('progress of pulls', () => {
  const read = async (socket: string): Promise<unknown[]> => {
    const events: unknown[] = [];
    for await (const event of pullEvents(socket, 'a', AbortSignal.timeout(5000))) events.push(event);
    return events;
  };

  it('is read line by line from the daemon', async () => {
    const lines = [
      '{"image":"a","layer":"l","stage":"download","bytes":1,"total":2}',
      'nonsense',
      '{"image":"b","layer":"l","stage":"done","bytes":2,"total":2}',
      '{"image":"a","layer":"l","stage":"done","bytes":2,"total":2}',
    ];
    const web = createHttpServer((request, response) => {
      response.statusCode = request.url === '/v1/pulls' ? 200 : 404;
      response.write(`${lines[0]}\n${lines[1]?.slice(0, 3)}`);
      response.end(`${lines[1]?.slice(3)}\n${lines.slice(2).join('\n')}`);
    });
    const events = await read(await listening(web, 'pulls.sock'));
    web.close();
    assert.deepEqual(events, [
      { layer: 'l', stage: 'download', bytes: 1, total: 2, from: '', isReused: false },
      { layer: 'l', stage: 'done', bytes: 2, total: 2, from: '', isReused: false },
    ]);
  });

  it('is nothing where it is not offered', async () => {
    const web = createHttpServer((_, response) => response.writeHead(404).end('{"image":"a","layer":"l","stage":"done"}'));
    assert.deepEqual(await read(await listening(web, 'none.sock')), []);
    web.close();
    assert.deepEqual(await read(grpcSocket), []);
    assert.deepEqual(await read(join(dir, 'missing.sock')), []);
  });
});

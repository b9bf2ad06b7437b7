import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { request } from 'node:http';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { Client, type ServiceError, credentials, status } from '@grpc/grpc-js';
import { Failure } from '../errors/index.ts';
import { silentLogger } from '../log/index.ts';
import { services } from '../wire/index.ts';
import { type CriHandlers, CriServer, Listener } from './index.ts';

const handlers: CriHandlers = {
  RuntimeService: {
    Version: async ({ version }) => ({ version, runtimeName: 'cri-o' }),
    StartContainer: async () => {
      throw new Failure('Unknown', `start failed: ${'ü'.repeat(64 * 1024)} exit status 1`);
    },
    ContainerStatus: async ({ containerId }) => {
      throw new Failure('NotFound', `could not find container "${containerId}"`, { advice: 'List them with crio ps.' });
    },
    RemoveContainer: async (_, rpc) =>
      await new Promise((_resolve, reject) =>
        rpc.signal.addEventListener('abort', () => reject(new Failure('Canceled', 'gone', { cause: rpc.signal.reason }))),
      ),
  },
  ImageService: {},
};

/** A server on a socket of its own, and a client that sends what bytes it likes. */
async function serving(
  work: (o: { path: string; call: (path: string, bytes: Uint8Array, deadlineMs?: number) => Promise<Buffer> }) => Promise<void>,
): Promise<void> {
  const directory = mkdtempSync(join(tmpdir(), 'crio-server-'));
  const path = join(directory, 'crio.sock');
  const server = new CriServer(handlers, { maxReceive: 16 << 20, maxSend: 16 << 20 }, silentLogger);
  const listener = new Listener(
    path,
    (socket) => server.serve(socket),
    (_, response) => response.end('inspect'),
    silentLogger,
  );
  await listener.listen();
  const client = new Client(`unix:${path}`, credentials.createInsecure());
  const same = (bytes: Buffer) => bytes;
  const call = (method: string, bytes: Uint8Array, deadlineMs = 5000) =>
    new Promise<Buffer>((resolve, reject) => {
      client.makeUnaryRequest(
        method,
        same,
        same,
        Buffer.from(bytes),
        { deadline: Date.now() + deadlineMs },
        (error: ServiceError | null, answer?: Buffer) =>
          error === null && answer !== undefined ? resolve(answer) : reject(error ?? new Error('no answer')),
      );
    });
  try {
    await work({ path, call });
  } finally {
    client.close();
    const closed = listener.close();
    await server.stop(1000);
    await closed;
    rmSync(directory, { recursive: true });
  }
}

const { RuntimeService, ImageService } = services;

test('a request reaches its handler and the answer its client', async () => {
  await serving(async ({ call }) => {
    const { path, request: req, response } = RuntimeService.Version;
    assert.deepEqual(
      response.decode(await call(path, req.encode({ version: 'v1' }))),
      response.create({ version: 'v1', runtimeName: 'cri-o' }),
    );
  });
});

test('[D2] every method of the API that is not served answers UNIMPLEMENTED with its name', async () => {
  await serving(async ({ call }) => {
    for (const [name, { path }] of [...Object.entries(RuntimeService), ...Object.entries(ImageService)]) {
      if (Object.hasOwn(handlers.RuntimeService, name)) continue;
      await assert.rejects(
        call(path, Buffer.alloc(0)),
        (error: ServiceError) => error.code === status.UNIMPLEMENTED && error.details.includes(name),
      );
    }
  });
});

test('a failure reaches the client with its code, text and advice', async () => {
  await serving(async ({ call }) => {
    const { path, request: req } = RuntimeService.ContainerStatus;
    await assert.rejects(call(path, req.encode({ containerId: 'abc' })), {
      code: status.NOT_FOUND,
      details: 'could not find container "abc" (List them with crio ps.)',
    });
  });
});

test('a failure with an endless text reaches the client with its code, and both ends of the text', async () => {
  await serving(async ({ call }) => {
    const { path } = RuntimeService.StartContainer;
    await assert.rejects(call(path, Buffer.alloc(0)), (error: ServiceError) => {
      assert.equal(error.code, status.UNKNOWN);
      return /^start failed: ü+ … ü+ exit status 1$/.test(error.details);
    });
  });
});

test('bytes that are no message are INVALID_ARGUMENT, and the connection goes on', async () => {
  await serving(async ({ call }) => {
    const { path, request: req } = RuntimeService.Version;
    await assert.rejects(call(path, Buffer.from([0x0a, 0xff])), { code: status.INVALID_ARGUMENT });
    await call(path, req.encode({}));
  });
});

test("[D17] a handler's signal fires with the client's deadline", async () => {
  await serving(async ({ call }) => {
    const { path, request: req } = RuntimeService.RemoveContainer;
    await assert.rejects(call(path, req.encode({ containerId: 'abc' }), 50), { code: status.DEADLINE_EXCEEDED });
  });
});

test('[C73] HTTP/1 on the same socket is the inspect API', async () => {
  await serving(async ({ path }) => {
    const body = await new Promise<string>((resolve, reject) => {
      request({ socketPath: path, path: '/info' }, (response) => {
        response.setEncoding('utf8');
        response.once('data', resolve);
      })
        .once('error', reject)
        .end();
    });
    assert.equal(body, 'inspect');
  });
});

test('a client that sends garbage or hangs up in the preface disturbs nobody', async () => {
  await serving(async ({ path, call }) => {
    for (const bytes of ['PRI * HT', '\0\0\0garbage', 'GET']) {
      const socket = connect(path);
      socket.on('error', () => {});
      socket.resume().end(bytes);
      await new Promise((resolve) => socket.once('close', resolve));
    }
    await call(RuntimeService.Version.path, RuntimeService.Version.request.encode({}));
  });
});

test('the socket is 0660; a second server on it is refused, a dead one is replaced', async () => {
  await serving(async ({ path }) => {
    assert.equal(statSync(path).mode & 0o777, 0o660);
    const second = new Listener(
      path,
      () => {},
      () => {},
      silentLogger,
    );
    await assert.rejects(
      second.listen(),
      (error: Failure) => error.code === 'EADDRINUSE' && error.message === `already existing connection on ${path}`,
    );
  });
  const file = join(mkdtempSync(join(tmpdir(), 'crio-server-')), 'file');
  writeFileSync(file, '');
  await assert.rejects(
    new Listener(
      file,
      () => {},
      () => {},
      silentLogger,
    ).listen(),
    { message: `failed to listen: ${file} exists and is no socket` },
  );
});

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer, get } from 'node:http';
import type { AddressInfo } from 'node:net';
import { test } from 'node:test';
import { defaultConfig } from '../../config/index.ts';
import { PullBoard, inspectApi } from '../index.ts';

test('a path that is no URL is not found, and the daemon lives', async () => {
  const config = defaultConfig();
  const { handle } = inspectApi({ config, serialize: () => '', pulls: new PullBoard() });
  const server = createServer(handle).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const status = async (path: string) => {
    const [response] = (await once(get({ port, path, host: '127.0.0.1' }), 'response')) as [{ statusCode: number; resume(): void }];
    response.resume();
    return response.statusCode;
  };
  assert.equal(await status('//'), 404);
  assert.equal(await status('/info?a=b'), 200);
  server.close();
});

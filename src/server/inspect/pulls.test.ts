import assert from 'node:assert/strict';
import { type IncomingMessage, createServer, get } from 'node:http';
import type { AddressInfo } from 'node:net';
import { createInterface } from 'node:readline';
import { test } from 'node:test';
import type { PullProgress } from '../../images/index.ts';
import { sha256 } from '../../ids/index.ts';
import { PullBoard } from './pulls.ts';

const digest = sha256('a layer');
const step = (name: PullProgress['step'], offset: number): PullProgress => ({
  digest,
  mediaType: '',
  step: name,
  offset,
  size: 10,
  reference: 'r',
  from: 'mirror',
});

test('[p16] who listens is told how each layer of a pull goes; who comes late how things stand', async () => {
  const board = new PullBoard();
  const server = createServer((_, response) => board.listen(response)).listen(0, '127.0.0.1');
  try {
    await new Promise((resolve) => server.once('listening', resolve));
    const { onProgress, end } = board.begin('busybox');
    onProgress(step('downloading', 4));
    const response = await new Promise<IncomingMessage>((resolve) => get({ port: (server.address() as AddressInfo).port }, resolve));
    const lines = createInterface({ input: response })[Symbol.asyncIterator]();
    const next = async () => JSON.parse((await lines.next()).value as string) as unknown;
    assert.deepEqual(await next(), { image: 'busybox', layer: digest, stage: 'download', bytes: 4, total: 10, from: 'mirror' });
    onProgress(step('committed', 10));
    assert.deepEqual(await next(), { image: 'busybox', layer: digest, stage: 'done', bytes: 10, total: 10, from: 'mirror' });
    onProgress(step('reused', 10));
    assert.deepEqual(await next(), { image: 'busybox', layer: digest, stage: 'done', bytes: 10, total: 10, from: 'mirror', reused: true });
    end();
    response.destroy();
  } finally {
    server.closeAllConnections();
    server.close();
  }
});

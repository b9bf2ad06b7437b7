import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { Failure, plainFailure } from '../../errors/index.ts';
import type { HexId } from '../../ids/index.ts';
import { type Fields, LEVELS, type Level, type Logger } from '../../log/index.ts';
import { LayerUnpacker, Store } from '../../storage/index.ts';
import { ImageService } from '../service.ts';
import type { ChildOrder, FromChild, LogMethod } from './protocol.ts';

/** Pulls what its standard input orders, says on standard output how that goes, and ends the process [I37]. */
export async function pullAsChild(): Promise<void> {
  const stop = new AbortController();
  const gone = () => stop.abort(new Failure('Canceled', 'nobody waits for this pull any more'));
  process.on('SIGTERM', () => stop.abort(new Failure('Canceled', 'the pull was told to end (SIGTERM)')));
  process.stdout.on('error', gone);
  const input = createInterface({ input: process.stdin });
  input.once('close', gone);
  let last: FromChild;
  try {
    const [line] = (await once(input, 'line', { signal: stop.signal })) as [string];
    last = { kind: 'done', imageId: await pull(JSON.parse(line) as ChildOrder, stop.signal) };
  } catch (error) {
    last = { kind: 'failed', failure: plainFailure(error) };
  }
  process.stdout.write(lineOf(last), () => process.exit(0));
}

/** Everything is on disk and let go of when it settles. */
async function pull({ request, store: place, settings, maxThreads, level }: ChildOrder, signal: AbortSignal): Promise<HexId> {
  const log = toldLogger(level, {});
  const store = await Store.open({ ...place, isDaemon: false, log });
  const unpacker = new LayerUnpacker({ log, maxThreads });
  const images = new ImageService({ store, unpacker, settings, log });
  try {
    const { reference, ...options } = request;
    return await images.pullAlone(reference, { ...options, signal, onProgress: (progress) => say({ kind: 'progress', progress }) });
  } finally {
    images.close();
    await unpacker.close();
    await store.close();
  }
}

/** Its lines are the parent's. */
function toldLogger(level: Level, fields: Fields): Logger {
  const enabled = (asked: Level) => LEVELS.indexOf(asked) >= LEVELS.indexOf(level);
  const tell = (method: LogMethod) => (text: string, more?: Fields) => {
    if (enabled(method === 'warn' ? 'warning' : method)) say({ kind: 'log', level: method, text, fields: { ...fields, ...more } });
  };
  return {
    trace: tell('trace'),
    debug: tell('debug'),
    info: tell('info'),
    warn: tell('warn'),
    error: tell('error'),
    with: (more) => toldLogger(level, { ...fields, ...more }),
    within: async (_, work) => await work(),
    enabled,
  };
}

function say(message: FromChild): void {
  process.stdout.write(lineOf(message));
}

function lineOf(message: FromChild): string {
  return `${JSON.stringify(message)}\n`;
}

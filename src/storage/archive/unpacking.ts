import { parentPort } from 'node:worker_threads';
import { Failure, plainFailure } from '../../errors/index.ts';
import { type BlobChunk, BlobSource } from './blob-source.ts';
import type { FromWorker, ToWorker } from './protocol.ts';
import type { UnpackJob } from './types.ts';
import { unpackLayer } from './unpack-layer.ts';

/** What an unpacking thread does: one job at a time, told by messages (protocol.ts). */
const port = parentPort;
if (port === null) throw new Error('unpacking.ts runs on a worker thread only');

let source: BlobSource | undefined;

port.on('message', (message: ToWorker) => {
  switch (message.kind) {
    case 'job':
      start(message.job);
      break;
    case 'chunk':
      source?.push({ bytes: Buffer.from(message.buffer, 0, message.length) });
      break;
    case 'end':
      source?.end();
      break;
    case 'abort':
      source?.abort(new Failure('Canceled', 'unpacking was canceled'));
  }
});

function start(job: UnpackJob): void {
  // A decompressor that was stopped lets go of its input late: that is no credit for the next job.
  const mine: BlobSource = new BlobSource(job, (chunk) => source === mine && giveBack(chunk));
  source = mine;
  void work(job, mine);
}

/** Answers exactly once; until then the directory may still be written to. */
async function work(job: UnpackJob, blob: BlobSource): Promise<void> {
  let answer: FromWorker;
  try {
    const warn = (text: string) => post({ kind: 'warning', text });
    answer = { kind: 'done', layer: await unpackLayer(job, blob, { warn, onSurvey: (survey) => post({ kind: 'survey', survey }) }) };
  } catch (error) {
    answer = { kind: 'failed', failure: plainFailure(error) };
  }
  source = undefined;
  post(answer);
}

function giveBack(chunk: BlobChunk): void {
  const { buffer, byteLength } = chunk.bytes;
  if (buffer instanceof ArrayBuffer) post({ kind: 'taken', buffer, length: byteLength }, [buffer]);
}

function post(message: FromWorker, transfer: ArrayBuffer[] = []): void {
  port?.postMessage(message, transfer);
}

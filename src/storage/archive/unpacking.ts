import { parentPort } from 'node:worker_threads';
import { Failure, plainFailure } from '../../errors/index.ts';
import { type BlobChunk, BlobSource } from './blob-source.ts';
import type { FromWorker, ToWorker } from './protocol.ts';
import type { Survey, UnpackJob } from './types.ts';
import { unpackLayer } from './unpack-layer.ts';

/** What an unpacking thread does: layers side by side, told by messages (protocol.ts). While one waits for its decompressor another goes on. */
const port = parentPort;
if (port === null) throw new Error('unpacking.ts runs on a worker thread only');

const sources = new Map<number, BlobSource>();

port.on('message', (message: ToWorker) => {
  const source = sources.get(message.run);
  switch (message.kind) {
    case 'job':
      start(message.run, message.job);
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

function start(run: number, job: UnpackJob): void {
  const source = new BlobSource(job, (chunk) => giveBack(run, chunk));
  sources.set(run, source);
  void work(run, job, source);
}

/** Answers exactly once; until then the directory may still be written to. */
async function work(run: number, job: UnpackJob, blob: BlobSource): Promise<void> {
  let answer: FromWorker;
  try {
    const warn = (text: string) => post({ run, kind: 'warning', text });
    const onSurvey = (survey: Survey) => post({ run, kind: 'survey', survey });
    answer = { run, kind: 'done', layer: await unpackLayer(job, blob, { warn, onSurvey }) };
  } catch (error) {
    answer = { run, kind: 'failed', failure: plainFailure(error) };
  }
  sources.delete(run);
  post(answer);
}

/** A decompressor that was stopped lets go of its input late; that is no credit for anybody. */
function giveBack(run: number, { bytes: { buffer, byteLength } }: BlobChunk): void {
  if (sources.has(run) && buffer instanceof ArrayBuffer) post({ run, kind: 'taken', buffer, length: byteLength }, [buffer]);
}

function post(message: FromWorker, transfer: ArrayBuffer[] = []): void {
  port?.postMessage(message, transfer);
}

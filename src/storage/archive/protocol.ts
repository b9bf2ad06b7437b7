import type { PlainFailure } from '../../errors/index.ts';
import type { Survey, UnpackJob, UnpackedLayer } from './types.ts';

/** What the main thread says to an unpacking thread, of one run of many: the job, its blob in pieces, its end; or the job's end before. */
export type ToWorker = Spoken & { readonly run: number };

export type Spoken =
  | { readonly kind: 'job'; readonly job: UnpackJob }
  | { readonly kind: 'chunk'; readonly buffer: ArrayBuffer; readonly length: number }
  | { readonly kind: 'end' }
  | { readonly kind: 'abort' };

/** `taken` hands a buffer back: it is the credit for the next one. `survey` says which parts of a blob are wanted. `done` or `failed` ends the run, once. */
export type FromWorker = { readonly run: number } & (
  | { readonly kind: 'taken'; readonly buffer: ArrayBuffer; readonly length: number }
  | { readonly kind: 'warning'; readonly text: string }
  | { readonly kind: 'survey'; readonly survey: Survey }
  | { readonly kind: 'done'; readonly layer: UnpackedLayer }
  | { readonly kind: 'failed'; readonly failure: PlainFailure }
);

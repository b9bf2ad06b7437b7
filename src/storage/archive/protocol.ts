import { Failure, type FailureKind, codeOf, kindOf, textOf } from '../../errors/index.ts';
import type { Survey, UnpackJob, UnpackedLayer } from './types.ts';

/** What the main thread says to an unpacking thread: one job, its blob in pieces, its end; or the job's end before. */
export type ToWorker =
  | { readonly kind: 'job'; readonly job: UnpackJob }
  | { readonly kind: 'chunk'; readonly buffer: ArrayBuffer; readonly length: number }
  | { readonly kind: 'end' }
  | { readonly kind: 'abort' };

/** `taken` hands a buffer back: it is the credit for the next one. `survey` says which parts of a blob are wanted. `done` or `failed` ends the job, once. */
export type FromWorker =
  | { readonly kind: 'taken'; readonly buffer: ArrayBuffer; readonly length: number }
  | { readonly kind: 'warning'; readonly text: string }
  | { readonly kind: 'survey'; readonly survey: Survey }
  | { readonly kind: 'done'; readonly layer: UnpackedLayer }
  | { readonly kind: 'failed'; readonly failure: PlainFailure };

/** Classes do not survive a message. */
export interface PlainFailure {
  readonly kind: FailureKind;
  readonly message: string;
  readonly code: string | undefined;
  readonly advice: string | undefined;
}

export function plainFailure(error: unknown): PlainFailure {
  const advice = error instanceof Failure ? error.advice : undefined;
  return { kind: kindOf(error), message: textOf(error), code: codeOf(error), advice };
}

export function revivedFailure({ kind, message, code, advice }: PlainFailure): Failure {
  return new Failure(kind, message, { ...(code === undefined ? {} : { code }), ...(advice === undefined ? {} : { advice }) });
}

import { Failure, type FailureKind, codeOf, kindOf, textOf } from './failure.ts';

/** A failure as data: classes survive neither a message between threads nor JSON. */
export interface PlainFailure {
  readonly kind: FailureKind;
  readonly message: string;
  readonly code?: string | undefined;
  readonly advice?: string | undefined;
}

export function plainFailure(error: unknown): PlainFailure {
  const advice = error instanceof Failure ? error.advice : undefined;
  return { kind: kindOf(error), message: textOf(error), code: codeOf(error), advice };
}

export function revivedFailure({ kind, message, code, advice }: PlainFailure): Failure {
  return new Failure(kind, message, { ...(code === undefined ? {} : { code }), ...(advice === undefined ? {} : { advice }) });
}

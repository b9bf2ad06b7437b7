import { Failure, codeOf, kindOf, textOf } from '../errors/index.ts';

/** Of kinds, only being stopped reaches the client of a pull; everything else is Unknown there [I7]. */
export function asAnswer(error: unknown): unknown {
  const kind = kindOf(error);
  if (kind === 'Unknown' || kind === 'Canceled' || kind === 'DeadlineExceeded') return error;
  const code = codeOf(error);
  const advice = error instanceof Failure ? error.advice : undefined;
  const details = { cause: error, ...(code === undefined ? {} : { code }), ...(advice === undefined ? {} : { advice }) };
  return new Failure('Unknown', textOf(error), details);
}

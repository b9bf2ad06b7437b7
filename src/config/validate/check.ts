import { Failure } from '../../errors/index.ts';

/** A line that validation wants in the log. */
export interface Message {
  readonly level: 'debug' | 'info' | 'warning' | 'error';
  readonly text: string;
}

/** A value that the configuration must not have. */
export function invalid(message: string, advice: string): Failure {
  return new Failure('InvalidArgument', message, { advice });
}

/** Something that the machine lacks or refuses. */
export function missing(message: string, advice: string, cause?: unknown): Failure {
  return new Failure('FailedPrecondition', message, { advice, cause });
}

import { status } from '@grpc/grpc-js';
import { type FailureKind, adviceOf, kindOf, textOf } from '../../errors/index.ts';

/** The one place where kinds of failures become gRPC codes. */
const CODES = {
  Unknown: status.UNKNOWN,
  Canceled: status.CANCELLED,
  InvalidArgument: status.INVALID_ARGUMENT,
  DeadlineExceeded: status.DEADLINE_EXCEEDED,
  NotFound: status.NOT_FOUND,
  AlreadyExists: status.ALREADY_EXISTS,
  PermissionDenied: status.PERMISSION_DENIED,
  ResourceExhausted: status.RESOURCE_EXHAUSTED,
  FailedPrecondition: status.FAILED_PRECONDITION,
  Unimplemented: status.UNIMPLEMENTED,
  Internal: status.INTERNAL,
  Unavailable: status.UNAVAILABLE,
} as const satisfies Record<FailureKind, status>;

/** The text travels in a header, percent-encoded, and the headers of an answer are small; a runtime's stderr need not be. */
const MAX_TEXT = 8 * 1024;

/** What a client gets for an error: code and text; advice goes behind the text, where there is any. */
export function statusOf(error: unknown): { readonly code: status; readonly details: string } {
  const what = adviceOf(error);
  const advice = what === undefined ? '' : ` (${what})`;
  const text = textOf(error);
  const shown = text.length <= MAX_TEXT ? text : `${text.slice(0, MAX_TEXT / 2)} … ${text.slice(-MAX_TEXT / 2)}`.toWellFormed();
  return { code: CODES[kindOf(error)], details: `${shown}${advice}` };
}

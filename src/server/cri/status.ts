import { status } from '@grpc/grpc-js';
import { Failure, type FailureKind, kindOf, textOf } from '../../errors/index.ts';

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

/** What a client gets for an error: code and text; advice goes behind the text, where there is any. */
export function statusOf(error: unknown): { readonly code: status; readonly details: string } {
  const advice = error instanceof Failure && error.advice !== undefined ? ` (${error.advice})` : '';
  return { code: CODES[kindOf(error)], details: `${textOf(error)}${advice}` };
}

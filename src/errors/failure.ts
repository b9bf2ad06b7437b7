/**
 * The one family of errors that a user can meet.
 *
 * `message` is the text that clients see (CRI-O's where the reference has one, docs/reference section D);
 * `advice` says what to do, `cause` keeps the origin. `kind` is mapped to a gRPC code in server/cri/status.ts
 * and to an exit code in cli/, nowhere else. Never decide anything by a message's text: look at `kind` or `code`.
 */
export type FailureKind =
  | 'Unknown'
  | 'Canceled'
  | 'InvalidArgument'
  | 'DeadlineExceeded'
  | 'NotFound'
  | 'AlreadyExists'
  | 'PermissionDenied'
  | 'ResourceExhausted'
  | 'FailedPrecondition'
  | 'Unimplemented'
  | 'Internal'
  | 'Unavailable';

export interface FailureDetails {
  /** What the reader can do about it, one sentence. */
  readonly advice?: string;
  readonly cause?: unknown;
  /** A machine-readable reason inside the kind (an errno name, an OCI error code, …). */
  readonly code?: string;
}

export class Failure extends Error {
  override readonly name = 'Failure';
  readonly kind: FailureKind;
  readonly advice: string | undefined;
  readonly code: string | undefined;

  constructor(kind: FailureKind, message: string, details: FailureDetails = {}) {
    super(message, details.cause === undefined ? undefined : { cause: details.cause });
    this.kind = kind;
    this.advice = details.advice;
    this.code = details.code;
  }
}

/** The text of anything thrown. `SuppressedError` is peeled to the error that came first. */
export function textOf(error: unknown): string {
  const first = originOf(error);
  return first instanceof Error ? first.message : String(first);
}

/** The kind of anything thrown: a Failure's own, a DOM abort or timeout, else Unknown. */
export function kindOf(error: unknown): FailureKind {
  const first = originOf(error);
  if (first instanceof Failure) return first.kind;
  if (first instanceof Error && first.name === 'TimeoutError') return 'DeadlineExceeded';
  if (first instanceof Error && first.name === 'AbortError') return 'Canceled';
  return 'Unknown';
}

/** errno name (`ENOENT`) or failure code of anything thrown, if it has one. */
export function codeOf(error: unknown): string | undefined {
  const first = originOf(error);
  if (first !== null && typeof first === 'object' && 'code' in first && typeof first.code === 'string') return first.code;
  return undefined;
}

/** What the reader can do: a Failure's own advice, or that of an errno which means the same wherever it comes from. */
export function adviceOf(error: unknown): string | undefined {
  const first = originOf(error);
  return (first instanceof Failure ? first.advice : undefined) ?? FULL.get(codeOf(first) ?? '');
}

const FULL: ReadonlyMap<string, string> = new Map(
  ['ENOSPC', 'EDQUOT'].map((code) => [
    code,
    'crio df tells what takes up the storage directory; containers, pods and images can still be removed.',
  ]),
);

/**
 * Puts `prefix: ` before an error's text, the way Go chains read, and keeps its kind, code and advice.
 * `kind` replaces an `Unknown` kind only: what is known below is not made vaguer above.
 */
export function wrap(prefix: string, error: unknown, kind: FailureKind = 'Unknown'): Failure {
  const first = originOf(error);
  const below = kindOf(first);
  const code = codeOf(first);
  const advice = first instanceof Failure ? first.advice : undefined;
  return new Failure(below === 'Unknown' ? kind : below, `${prefix}: ${textOf(first)}`, {
    cause: first,
    ...(code === undefined ? {} : { code }),
    ...(advice === undefined ? {} : { advice }),
  });
}

/** `using` reports body and clean-up errors together as SuppressedError, whose `.suppressed` is the body's. */
function originOf(error: unknown): unknown {
  let first = error;
  while (first instanceof SuppressedError) first = first.suppressed;
  return first;
}

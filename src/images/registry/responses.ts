import { Failure, type FailureKind } from '../../errors/index.ts';
import { parseChallenges } from './challenge.ts';

/** The standard sentence of each error code that registries answer with [C32]. */
const STANDARD_MESSAGES: ReadonlyMap<string, string> = new Map([
  ['UNKNOWN', 'unknown error'],
  ['UNSUPPORTED', 'The operation is unsupported.'],
  ['UNAUTHORIZED', 'authentication required'],
  ['DENIED', 'requested access to the resource is denied'],
  ['UNAVAILABLE', 'service unavailable'],
  ['TOOMANYREQUESTS', 'too many requests'],
  ['DIGEST_INVALID', 'provided digest did not match uploaded content'],
  ['SIZE_INVALID', 'provided length did not match content length'],
  ['NAME_INVALID', 'invalid repository name'],
  ['TAG_INVALID', 'manifest tag did not match URI'],
  ['NAME_UNKNOWN', 'repository name not known to registry'],
  ['MANIFEST_UNKNOWN', 'manifest unknown'],
  ['MANIFEST_INVALID', 'manifest invalid'],
  ['MANIFEST_UNVERIFIED', 'manifest failed signature verification'],
  ['MANIFEST_BLOB_UNKNOWN', 'blob unknown to registry'],
  ['BLOB_UNKNOWN', 'blob unknown to registry'],
  ['BLOB_UPLOAD_UNKNOWN', 'blob upload unknown to registry'],
  ['BLOB_UPLOAD_INVALID', 'blob upload invalid'],
  ['PAGINATION_NUMBER_INVALID', 'invalid number of results requested'],
]);

export function isRegistryCode(code: string): boolean {
  return STANDARD_MESSAGES.has(code);
}

/** What of an HTTP answer decides the error that is told. */
export interface RefusedAnswer {
  readonly status: number;
  readonly statusText: string;
  readonly challengeHeader: string | undefined;
  /** At most MAX_ERROR_BODY bytes of it. */
  readonly body: string;
}

/** Bytes of an error's body that are read [I42]. */
export const MAX_ERROR_BODY = 1024 * 1024;

/**
 * A registry's refusal in the reference's words: the first error of the body, in short where its message is the
 * standard one; else the status and the body's beginning. `code` is the registry's error code, or `HTTP_<status>`.
 */
export function refusal(answer: RefusedAnswer): Failure {
  const { status } = answer;
  if (status === 429) return failure(status, 'too many requests to registry', 'TOOMANYREQUESTS');
  if (status < 400 || status >= 500) return unexpectedStatus(status, answer.statusText);
  const told = status === 401 ? unauthorized(answer) : bodyError(answer.body, status);
  if (told === undefined) {
    const start = answer.body.length > 50 ? `${answer.body.slice(0, 50)}...` : answer.body;
    return failure(status, `StatusCode: ${status}, ${JSON.stringify(start)}`, `HTTP_${status}`);
  }
  const standard = STANDARD_MESSAGES.get(told.code);
  const known = standard === undefined ? 'UNKNOWN' : told.code;
  if (told.message === '' || told.message === standard) return failure(status, standard ?? 'unknown error', known);
  return failure(status, `${known.toLowerCase().replaceAll('_', ' ')}: ${told.message}`, known);
}

interface ToldError {
  readonly code: string;
  readonly message: string;
}

/** Any answer that is no success, judged by its status alone. */
export function unexpectedStatus(status: number, statusText: string): Failure {
  return failure(status, `received unexpected HTTP status: ${status} ${statusText}`, `HTTP_${status}`);
}

function unauthorized(answer: RefusedAnswer): ToldError {
  return bearerError(answer.challengeHeader) ?? bodyError(answer.body, 401) ?? { code: 'UNAUTHORIZED', message: '' };
}

function bearerError(header: string | undefined): ToldError | undefined {
  for (const challenge of parseChallenges(header)) {
    const error = challenge.scheme === 'bearer' ? challenge.parameters.get('error') : undefined;
    if (error === 'invalid_token') return { code: 'UNAUTHORIZED', message: challenge.parameters.get('error_description') ?? '' };
    if (error === 'insufficient_scope') return { code: 'DENIED', message: challenge.parameters.get('error_description') ?? '' };
  }
  return undefined;
}

/** The first of `{"errors":[{"code","message"}]}`, or a token server's `{"details"}`. */
function bodyError(body: string, status: number): ToldError | undefined {
  let value: unknown;
  try {
    value = JSON.parse(body);
  } catch {
    return undefined;
  }
  if (typeof value !== 'object' || value === null) return undefined;
  if ('details' in value && typeof value.details === 'string' && value.details !== '')
    return { code: status === 401 ? 'UNAUTHORIZED' : 'UNKNOWN', message: value.details };
  const first: unknown = 'errors' in value && Array.isArray(value.errors) ? value.errors[0] : undefined;
  if (typeof first !== 'object' || first === null) return undefined;
  const code = 'code' in first && typeof first.code === 'string' ? first.code : 'UNKNOWN';
  const message = 'message' in first && typeof first.message === 'string' ? first.message : '';
  return { code, message: message.slice(0, 4096) };
}

function failure(status: number, message: string, code: string): Failure {
  return new Failure(kindOfStatus(status), message, { code, ...adviceFor(status) });
}

function kindOfStatus(status: number): FailureKind {
  if (status === 404) return 'NotFound';
  if (status === 401 || status === 403) return 'PermissionDenied';
  if (status === 429 || status >= 500) return 'Unavailable';
  return 'Unknown';
}

function adviceFor(status: number): { advice?: string } {
  if (status === 401 || status === 403) return { advice: "Check the pull secret, or global_auth_file's entry for this registry." };
  if (status === 404) return { advice: 'Check the name and the tag, and whether the credentials may see the repository.' };
  return {};
}

import { Failure, codeOf, kindOf, textOf, wrap } from '../../errors/index.ts';
import { isRegistryCode } from '../registry/index.ts';
import { POLICY_REFUSAL } from '../trust/index.ts';

/** How far a pull had come when it failed: decides the sentence that the reference would say [I51, I52]. */
export type Stage = 'policy' | 'source' | 'image' | 'artifact';

/**
 * The error of a failed pull as clients see it. Nothing but a cancellation has a kind of its own [I7]; what the
 * kubelet recognises by its first word is told so [I5, I6]; the rest reads like the reference, which tries
 * everything that is no image as an artifact [I51, I52].
 */
export function pullFailure(stage: Stage, source: string, error: unknown): Failure {
  const code = codeOf(error);
  if (stage === 'policy') {
    const text =
      code === POLICY_REFUSAL ? `SignatureValidationFailed: unable to pull image: Source image rejected: ${textOf(error)}` : textOf(error);
    return finished(error, text);
  }
  const told = stage === 'source' ? `initializing source ${source}: ${textOf(error)}` : textOf(error);
  if (code === 'ECONNREFUSED') return finished(error, `RegistryUnavailable: unable to pull image: ${told}`);
  if (isAborted(error) || isNetworkError(error)) return finished(error, `unable to pull image: ${told}`);
  const artifact =
    stage === 'artifact'
      ? told
      : stage === 'source'
        ? `image reference: get manifest from ref: create image source: ${textOf(error)}`
        : 'image reference: reference is a container image, not an OCI artifact';
  const image = stage === 'artifact' ? 'it is no container image' : told;
  return finished(error, `unable to pull image or OCI artifact: pull image err: ${image}; artifact err: ${artifact}`);
}

/** Label of the failure metric [I36, C32]. */
export function failureLabel(error: unknown): string {
  const code = codeOf(error) ?? '';
  if (isRegistryCode(code)) return code;
  if (code === 'ECONNREFUSED') return 'CONNECTION_REFUSED';
  if (code === 'ETIMEDOUT') return 'CONNECTION_TIMEOUT';
  return code === 'HTTP_404' ? 'NOT_FOUND' : 'UNKNOWN';
}

/** Errors of a connection, of name resolution or of a silent peer: asking again later may help. */
function isNetworkError(error: unknown): boolean {
  const code = codeOf(error) ?? '';
  return /^(E[A-Z_]+|STALLED|TRUNCATED)$/.test(code) && kindOf(error) === 'Unavailable';
}

function isAborted(error: unknown): boolean {
  return kindOf(error) === 'Canceled' || kindOf(error) === 'DeadlineExceeded';
}

function finished(error: unknown, message: string): Failure {
  const { code, advice } = wrap('', error);
  return new Failure(isAborted(error) ? kindOf(error) : 'Unknown', message, {
    cause: error,
    ...(code === undefined ? {} : { code }),
    ...(advice === undefined ? {} : { advice }),
  });
}

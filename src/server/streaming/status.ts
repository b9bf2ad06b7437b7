import type { Outcome } from './types.ts';

/** What goes over the error stream at the end: a Kubernetes `Status` from version 4 of the protocol on [E45, E46], before that a text [E47]. */
export function statusText(outcome: Outcome, version: number): string {
  if (version < 4) return outcome.kind === 'success' ? '' : messageOf(outcome);
  return JSON.stringify(statusOf(outcome));
}

function statusOf(outcome: Outcome): object {
  switch (outcome.kind) {
    case 'success':
      return { metadata: {}, status: 'Success' };
    case 'exit':
      return {
        metadata: {},
        status: 'Failure',
        message: messageOf(outcome),
        reason: 'NonZeroExitCode',
        details: { causes: [{ reason: 'ExitCode', message: String(outcome.code) }] },
      };
    case 'failure':
      return {
        metadata: {},
        status: 'Failure',
        message: messageOf(outcome),
        reason: 'InternalError',
        details: { causes: [{ message: outcome.text }] },
        code: 500,
      };
    default:
      return outcome satisfies never;
  }
}

function messageOf(outcome: Exclude<Outcome, { kind: 'success' }>): string {
  return outcome.kind === 'exit'
    ? `command terminated with non-zero exit code: exit status ${outcome.code}`
    : `Internal error occurred: ${outcome.text}`;
}

import type { Nanoseconds } from '../clock/index.ts';

/**
 * Where a container is in its life. `stopped` without an exit code means that nobody could tell it [D158, D168];
 * `unknown` is a container whose record could not be read, kept and reported, never deleted.
 */
export type ContainerState =
  | { readonly status: 'created' }
  | { readonly status: 'running' | 'paused'; readonly startedAt: Nanoseconds }
  | {
      readonly status: 'stopped';
      readonly startedAt: Nanoseconds | undefined;
      readonly finishedAt: Nanoseconds;
      readonly exitCode: number | undefined;
      readonly oomKilled: boolean;
      readonly seccompKilled: boolean;
      readonly error: string;
    }
  | { readonly status: 'unknown'; readonly why: string };

export type StoppedState = Extract<ContainerState, { readonly status: 'stopped' }>;

export function startedAt(state: ContainerState): Nanoseconds | undefined {
  return state.status === 'created' || state.status === 'unknown' ? undefined : state.startedAt;
}

/** Alive as far as we were told: it may have ended a moment ago. */
export function isLive(state: ContainerState): boolean {
  switch (state.status) {
    case 'created':
    case 'running':
    case 'paused':
      return true;
    case 'stopped':
    case 'unknown':
      return false;
    default:
      return state satisfies never;
  }
}

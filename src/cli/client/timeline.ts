import { inspectDaemon } from './inspect-api.ts';

/** What the daemon says of one operation on a pod or container; times in milliseconds. */
export interface OperationInfo {
  readonly operation: string;
  readonly pod: string;
  readonly container?: string;
  readonly name: string;
  /** RFC 3339. */
  readonly startedAt: string;
  readonly tookMs?: number;
  readonly runningMs?: number;
  readonly error?: string;
}

export interface TimelineOperation extends OperationInfo {
  readonly steps: readonly {
    readonly name: string;
    readonly depth: number;
    readonly startMs: number;
    readonly tookMs?: number;
    readonly failed?: boolean;
  }[];
}

export interface RunningOperation extends OperationInfo {
  readonly runningMs: number;
  readonly step?: string;
  readonly inStepMs?: number;
}

/** The latest operations on a pod and its containers. Failure: NotFound where the daemon knows of none. */
export async function timelineOf(socket: string, podId: string): Promise<readonly TimelineOperation[]> {
  return (JSON.parse(await inspectDaemon(socket, `/v1/timeline/${podId}`)) as { operations: TimelineOperation[] }).operations;
}

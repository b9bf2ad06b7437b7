import type { EventEmitter } from 'node:events';
import type { Deadline } from '@grpc/grpc-js';
import { Failure } from '../../errors/index.ts';
import type { Logger } from '../../log/index.ts';
import type { Rpc } from './rpc.ts';

/** What a unary call and a stream have in common. */
export interface Call extends EventEmitter {
  readonly request: Buffer;
  getDeadline(): Deadline;
}

export interface OpenCall {
  readonly rpc: Rpc;
  /** Makes the call's signal fire. */
  readonly abort: (reason: Failure) => void;
  /** To be called at the end of the call. */
  readonly done: () => void;
}

/** One signal per call, linked by hand and let go at its end: AbortSignal.any keeps memory for every request. */
export function openCall(method: string, call: Call, log: Logger): OpenCall {
  const gone = new AbortController();
  const deadline = deadlineOf(call);
  const secondsLeft = () => (deadline === undefined ? undefined : (deadline - Date.now()) / 1000);
  const onCancelled = () => {
    const late = deadline !== undefined && Date.now() >= deadline;
    gone.abort(late ? new Failure('DeadlineExceeded', 'context deadline exceeded') : new Failure('Canceled', 'context canceled'));
  };
  call.once('cancelled', onCancelled);
  return {
    rpc: { method, signal: gone.signal, secondsLeft, log },
    abort: (reason) => gone.abort(reason),
    done: () => void call.off('cancelled', onCancelled),
  };
}

/** Milliseconds since the epoch; undefined for a call without deadline. */
function deadlineOf(call: Call): number | undefined {
  const deadline = call.getDeadline();
  const at = deadline instanceof Date ? deadline.getTime() : deadline;
  return Number.isFinite(at) ? at : undefined;
}

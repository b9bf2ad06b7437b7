import type { Logger } from '../../log/index.ts';
import type { Answer } from '../../wire/index.ts';

/** One call: what a handler may know of it besides its request. */
export interface Rpc {
  readonly method: string;
  /** Fires when the client has gone or its deadline is over, for a stream also when the daemon stops; the reason is a Failure. */
  readonly signal: AbortSignal;
  /** Seconds left until the client's deadline; undefined without one. */
  secondsLeft(): number | undefined;
  readonly log: Logger;
}

export type Handler<I, O> = (request: I, rpc: Rpc) => Promise<Answer<O>>;

/** Of a method that answers with a stream: asked for the next message when the client has room for it. */
export type StreamHandler<I, O> = (request: I, rpc: Rpc) => AsyncIterable<Answer<O>>;

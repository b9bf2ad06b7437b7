import type { Duplex } from 'node:stream';
import type { ClientStreams } from '../../containers/index.ts';

export interface ExecTarget {
  readonly kind: 'exec';
  readonly containerId: string;
  readonly command: readonly string[];
}
export interface AttachTarget {
  readonly kind: 'attach';
  readonly containerId: string;
}
/** What a client wants of a command's or a container's streams. */
export type CommandRequest = (ExecTarget | AttachTarget) & {
  readonly tty: boolean;
  readonly stdin: boolean;
  readonly stdout: boolean;
  readonly stderr: boolean;
};
export interface ForwardRequest {
  readonly kind: 'portforward';
  readonly podId: string;
  /** Those of the RPC; only WebSocket clients depend on them [E73]. */
  readonly ports: readonly number[];
}
export type StreamingRequest = CommandRequest | ForwardRequest;

/** What is behind the streams: the domain, as far as this server needs it. */
export interface StreamingBackend {
  /** Answers the exit code. */
  exec(containerId: string, command: readonly string[], tty: boolean, client: ClientStreams): Promise<number>;
  attach(containerId: string, client: ClientStreams): Promise<void>;
  /** A connection to a port inside the pod. */
  dial(podId: string, port: number): Promise<Duplex>;
}

/** How a command ended, for the client. */
export type Outcome =
  | { readonly kind: 'success' }
  | { readonly kind: 'exit'; readonly code: number }
  | { readonly kind: 'failure'; readonly text: string };

/** A client's streams over whichever protocol; `finish` tells it how it ended, and closes. */
export interface CommandSession {
  readonly streams: ClientStreams;
  finish(outcome: Outcome): Promise<void>;
}

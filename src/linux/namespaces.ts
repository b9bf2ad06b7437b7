import { Worker } from 'node:worker_threads';
import { workerUrl } from '../workers/index.ts';
import { Failure, type FailureKind } from '../errors/index.ts';
import { OwnedFd } from './fd.ts';

export const NAMESPACE_KINDS = ['ipc', 'net', 'uts'] as const;
export type NamespaceKind = (typeof NAMESPACE_KINDS)[number];
/** What a pod may have pinned: those that a thread can make, and a user namespace. */
export const PIN_KINDS = [...NAMESPACE_KINDS, 'user'] as const;
export type PinKind = (typeof PIN_KINDS)[number];

/**
 * A user namespace and the namespaces that it owns, which no thread of many can make: a process has made them and stands in
 * them until they are pinned (`holdUserNamespace` of process/).
 */
export interface UserNamespaceRequest {
  /** Where it is pinned. */
  readonly pin: string;
  /** The process, as this one knows it. It must be in new namespaces of every kind that is not the host's. */
  readonly holder: number;
  /** Lines of /proc/PID/uid_map: `<inside> <outside> <count>`. */
  readonly uidMap: string;
  readonly gidMap: string;
  /** Root of the namespace, as this one knows it: owns the pin files [D66]. */
  readonly root: { readonly uid: number; readonly gid: number };
}

export interface NamespaceRequest {
  /** Where each namespace is pinned: an absolute path per kind; the file is made, its directory must exist. */
  readonly pins: Readonly<Record<NamespaceKind, string>>;
  /** Absent for a pod in the host's user namespace. */
  readonly user?: UserNamespaceRequest | undefined;
  /** Kinds of which the host's own is pinned instead of a new one. */
  readonly host: readonly NamespaceKind[];
  /**
   * Written inside the new namespaces, in order; keys in dotted or slashed form. A thread cannot write them as a user namespace's root:
   * see `writeSysctlsInside` of process/.
   */
  readonly sysctls: readonly (readonly [key: string, value: string])[];
}

/** A TCP socket of that network namespace, not yet connected. */
export interface SocketRequest {
  readonly netns: string;
  readonly family: 4 | 6;
}

export type NamespaceWork = { readonly id: number } & (
  | { readonly kind: 'create'; readonly request: NamespaceRequest }
  | { readonly kind: 'socket'; readonly request: SocketRequest }
);

export interface NamespaceReply {
  readonly id: number;
  /** Of a socket. */
  readonly fd?: number;
  readonly failure?: { readonly kind: FailureKind; readonly message: string; readonly code: string | undefined };
}

/**
 * Makes and pins namespaces on a thread of its own, 0.65 ms for three (docs/architecture.md): the thread unshares,
 * binds its own /proc/thread-self/ns/* onto the pins and returns to the host's namespaces.
 *
 * The thread makes only synchronous calls: libuv's pool threads are born in the namespaces of whoever first needs
 * them. A thread that fails between unshare and return is ended and replaced, never reused.
 */
export class NamespaceMaker {
  #worker: Worker | undefined;
  #nextId = 1;
  readonly #waiting = new Map<number, (reply: NamespaceReply | Error) => void>();

  /** Leaves nothing pinned when it fails. The new network namespace's `lo` is up. */
  async create(request: NamespaceRequest): Promise<void> {
    await this.#perform((id) => ({ id, kind: 'create', request }));
  }

  /** Owned by the caller. A socket stays in the namespace that it was made in, so whoever connects it connects there. */
  async tcpSocket(request: SocketRequest): Promise<OwnedFd> {
    const { fd } = await this.#perform((id) => ({ id, kind: 'socket', request }));
    return new OwnedFd(fd ?? -1);
  }

  async #perform(work: (id: number) => NamespaceWork): Promise<NamespaceReply> {
    const worker = (this.#worker ??= this.#start());
    const id = this.#nextId++;
    const { promise, resolve, reject } = Promise.withResolvers<NamespaceReply>();
    this.#waiting.set(id, (reply) => {
      if (reply instanceof Error) reject(reply);
      else if (reply.failure === undefined) resolve(reply);
      else {
        const { kind, message, code } = reply.failure;
        reject(new Failure(kind, message, code === undefined ? {} : { code }));
      }
    });
    worker.ref();
    worker.postMessage(work(id));
    return await promise;
  }

  async close(): Promise<void> {
    await this.#worker?.terminate();
    this.#worker = undefined;
  }

  #start(): Worker {
    const worker = new Worker(workerUrl(import.meta.url, './namespaces.worker.ts'), {
      name: 'namespaces',
      resourceLimits: { maxYoungGenerationSizeMb: 1, maxOldGenerationSizeMb: 16 },
    });
    worker.on('message', (reply: NamespaceReply) => this.#settle(worker, reply.id, reply));
    const lost = (error: Error) => {
      if (this.#worker === worker) this.#worker = undefined;
      for (const id of Array.from(this.#waiting.keys())) this.#settle(worker, id, error);
    };
    worker.on('error', lost);
    worker.on('exit', () => lost(new Failure('Internal', 'the thread that makes namespaces ended while it worked')));
    return worker;
  }

  #settle(worker: Worker, id: number, reply: NamespaceReply | Error): void {
    const answer = this.#waiting.get(id);
    this.#waiting.delete(id);
    if (this.#waiting.size === 0) worker.unref();
    answer?.(reply);
  }
}

import { Worker } from 'node:worker_threads';
import { workerUrl } from '../workers/index.ts';
import { Failure, type FailureKind } from '../errors/index.ts';

export const NAMESPACE_KINDS = ['ipc', 'net', 'uts'] as const;
export type NamespaceKind = (typeof NAMESPACE_KINDS)[number];

export interface NamespaceRequest {
  /** Where each namespace is pinned: an absolute path per kind; the file is made, its directory must exist. */
  readonly pins: Readonly<Record<NamespaceKind, string>>;
  /** Kinds of which the host's own is pinned instead of a new one. */
  readonly host: readonly NamespaceKind[];
  /** Written inside the new namespaces, in order; keys in dotted or slashed form. */
  readonly sysctls: readonly (readonly [key: string, value: string])[];
}

export interface NamespaceReply {
  readonly id: number;
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
    const worker = (this.#worker ??= this.#start());
    const id = this.#nextId++;
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    this.#waiting.set(id, (reply) => {
      if (reply instanceof Error) reject(reply);
      else if (reply.failure === undefined) resolve();
      else {
        const { kind, message, code } = reply.failure;
        reject(new Failure(kind, message, code === undefined ? {} : { code }));
      }
    });
    worker.ref();
    worker.postMessage({ id, ...request });
    await promise;
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

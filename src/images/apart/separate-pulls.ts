import { createInterface } from 'node:readline';
import { text } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';
import { Failure, revivedFailure } from '../../errors/index.ts';
import type { HexId } from '../../ids/index.ts';
import { LEVELS, type Logger } from '../../log/index.ts';
import { type Child, type Exit, launch } from '../../process/index.ts';
import { orAborted, within } from '../../sync/index.ts';
import { workerUrl } from '../../workers/index.ts';
import type { PullProgress } from '../image.ts';
import type { ImageSettings } from '../settings.ts';
import type { ChildOrder, FromChild, PullRequest, StorePlace } from './protocol.ts';

/** How long a child may take to throw away what it was making. */
const GRACE_MS = 5000;

export interface SeparatePullsOptions {
  readonly store: StorePlace;
  readonly settings: ImageSettings;
  /** Layers that a child unpacks at the same time. */
  readonly maxThreads: number;
  /** Where a pull for a pod with that cgroup parent is accounted; fails where it cannot be. */
  readonly sliceFor: (cgroupParent: string) => string;
  /** Moves a child, which waits for it, there. */
  readonly place: (pid: number, slice: string) => Promise<void>;
  /** Removes what a child that was killed left in the store. */
  readonly removeAbandoned: () => Promise<void>;
  readonly log: Logger;
}

/** Pulls in processes of their own, so that what they cost is accounted elsewhere [I37]. They share the store as podman does. */
export class SeparatePulls {
  readonly #o: SeparatePullsOptions;

  constructor(options: SeparatePullsOptions) {
    this.#o = options;
  }

  /** Fails with what the child's pull failed with. A fired signal ends the child, and rejects with its reason when it is gone. */
  async pull(
    request: PullRequest,
    cgroupParent: string,
    onProgress: (progress: PullProgress) => void,
    signal: AbortSignal,
  ): Promise<HexId> {
    signal.throwIfAborted();
    const slice = this.#o.sliceFor(cgroupParent);
    const child = start(request.reference);
    const outcome = this.#follow(child, onProgress);
    outcome.catch(() => {}); // Heard of below, which may be later.
    try {
      await orAborted(this.#o.place(child.pid, slice), signal);
      child.stdin?.write(`${JSON.stringify(this.#order(request))}\n`);
      return await orAborted(outcome, signal);
    } finally {
      await this.#end(child, outcome);
    }
  }

  #order(request: PullRequest): ChildOrder {
    const { store, settings, maxThreads, log } = this.#o;
    return { request, store, settings, maxThreads, level: LEVELS.find((level) => log.enabled(level)) ?? 'panic' };
  }

  /** What the pull came to. Settles only when the child has ended. */
  async #follow(child: Child, onProgress: (progress: PullProgress) => void): Promise<HexId> {
    const said = text(child.stderr).catch(() => '');
    let last: Extract<FromChild, { readonly kind: 'done' | 'failed' }> | undefined;
    for await (const line of createInterface({ input: child.stdout })) {
      const message = JSON.parse(line) as FromChild;
      if (message.kind === 'log') this.#o.log[message.level](message.text, message.fields);
      else if (message.kind === 'progress') onProgress(message.progress);
      else last = message;
    }
    const exit = await child.exited;
    if (last === undefined) throw endedEarly(exit, await said);
    if (last.kind === 'failed') throw revivedFailure(last.failure);
    return last.imageId;
  }

  /** The end of its input tells the child to undo what it was doing; one that does not is killed, and cleared away after. */
  async #end(child: Child, outcome: Promise<HexId>): Promise<void> {
    child.stdin?.end();
    if (!(await within(GRACE_MS, child.exited))) child.kill('SIGKILL');
    const { code } = await child.exited;
    await outcome.catch(() => {});
    if (code !== 0) await this.#o.removeAbandoned();
  }
}

function start(reference: string): Child {
  const script = fileURLToPath(workerUrl(import.meta.url, './pull-image.worker.ts'));
  return launch(['crio-pull-image', ...process.execArgv, script, reference], {
    program: process.execPath,
    // As in bin/crio: an arena per thread would keep as much again. What else it sets is for a process that lives on.
    env: { PATH: process.env['PATH'] ?? '', MALLOC_ARENA_MAX: '2' },
    stdin: 'pipe',
  });
}

function endedEarly({ code, signal }: Exit, said: string): Failure {
  const how = signal === null ? `exit status ${code}` : `killed by ${signal}`;
  return new Failure('Unknown', `pull image: ${said.trim() === '' ? '' : `${said.trim()}: `}${how}`, {
    advice: 'If it was killed, look whether the slice of separate_pull_cgroup has memory enough for a pull.',
  });
}

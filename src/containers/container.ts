import { join } from 'node:path';
import type { Nanoseconds } from '../clock/index.ts';
import { Failure } from '../errors/index.ts';
import { writeFileAtomic } from '../files/index.ts';
import type { ContainerId, HexId } from '../ids/index.ts';
import type { WatchedProcess } from '../linux/index.ts';
import type { ProcessIdentity } from '../oci/monitor/index.ts';
import type { OciRuntime } from '../oci/runtime/index.ts';
import type { ContainerMetadata, Mount, StringMap } from '../oci/spec/index.ts';
import type { OciSpec } from '../oci/spec/index.ts';
import type { Subject } from '../steps/index.ts';
import { Mutex } from '../sync/index.ts';
import { type ContainerState, isLive } from './state.ts';
import { encodeStateFile } from './state-file.ts';

/** What a container knows of its pod. */
export interface PodOfContainer {
  readonly id: string;
  readonly name: string;
  readonly stopped: boolean;
}

/** What never changes in a container's life. */
export interface ContainerFacts {
  readonly id: ContainerId;
  /** `k8s_<ctr>_<pod>_<ns>_<uid>_<attempt>` [D6] */
  readonly name: string;
  readonly pod: PodOfContainer;
  readonly metadata: ContainerMetadata;
  readonly labels: StringMap;
  readonly annotations: StringMap;
  readonly createdAt: Nanoseconds;
  readonly image: {
    /** As requested. */
    readonly requested: string;
    readonly id: HexId;
    /** Some name of the image, may be empty. */
    readonly someName: string;
    readonly repoDigests: readonly string[];
  };
  readonly logPath: string;
  readonly mounts: readonly Mount[];
  readonly tty: boolean;
  readonly stdin: boolean;
  readonly stdinOnce: boolean;
  readonly privileged: boolean;
  /** Signal name or number, empty for SIGTERM [D147]. */
  readonly stopSignal: string;
  readonly runtime: OciRuntime;
  readonly spec: OciSpec;
  /** Persistent directory (`userdata` below the graph root) and run directory, which is the bundle. */
  readonly directory: string;
  readonly runDirectory: string;
  /** Where state.json lies: the run directory for an infra container that was dropped, else the persistent one. */
  readonly stateDirectory: string;
}

/**
 * One container: its facts, its state and the only way to change it. `lock` serialises start, stop, exit
 * handling and removal; readers look at `state` without it.
 */
export class Container {
  readonly facts: ContainerFacts;
  readonly lock = new Mutex();
  /** Set while a stop is under way; later stops feed it their grace period (stop.ts). */
  stopping: { shorten(deadlineMs: number): void; readonly done: Promise<void> } | undefined;
  /** Set when the kill loop has begun: no more execs [D143]. */
  beingKilled = false;
  /** Set when a runtime other than runc and crun says that it has ended, and no monitor will. */
  goneForRuntime = false;
  removed = false;
  /** Its live processes as the kernel tells of them (exit-watcher.ts). */
  watched: { readonly init: WatchedProcess | undefined; monitor: WatchedProcess | undefined } | undefined;
  /** Settles when its monitor's file is in the exits directory. */
  readonly exitReported = Promise.withResolvers<void>();
  /** What must end with the container, and might not by itself: commands in a PID namespace that is not the container's own [E54]. */
  readonly dependents = new Set<() => void>();
  /** The client of its start left before it was answered: its retry is not told that there is nothing to start. */
  startUnanswered = false;
  #state: ContainerState;
  #init: ProcessIdentity | undefined;
  #monitor: ProcessIdentity | undefined;
  readonly #exited = Promise.withResolvers<void>();
  #revision = 0;

  constructor(
    facts: ContainerFacts,
    saved: { state: ContainerState; init?: ProcessIdentity | undefined; monitor?: ProcessIdentity | undefined },
  ) {
    this.facts = facts;
    this.#state = saved.state;
    this.#init = saved.init;
    this.#monitor = saved.monitor;
    if (!isLive(saved.state)) this.#exited.resolve();
  }

  get id(): ContainerId {
    return this.facts.id;
  }

  get state(): ContainerState {
    return this.#state;
  }

  get init(): ProcessIdentity | undefined {
    return this.#init;
  }

  get monitor(): ProcessIdentity | undefined {
    return this.#monitor;
  }

  /** Counts changes: cached encodings of the container are valid for one revision. */
  get revision(): number {
    return this.#revision;
  }

  /** Settles when its process has ended, which is before the state has become `stopped`, or is found to have. */
  get ended(): Promise<void> {
    const events = [this.#exited.promise, this.exitReported.promise, this.watched?.init?.ended];
    return Promise.race(events.filter((event) => event !== undefined));
  }

  unwatch(): void {
    this.watched?.init?.close();
    this.watched?.monitor?.close();
  }

  /** The next state, in memory and on disk. */
  async become(state: ContainerState, processes?: { readonly init: ProcessIdentity; readonly monitor: ProcessIdentity }): Promise<void> {
    if (processes !== undefined) {
      if (this.#init !== undefined) {
        throw new Failure('Internal', `pid and start time already initialized: ${this.#init.pid} ${this.#init.startTime}`); // [D175]
      }
      this.#init = processes.init;
      this.#monitor = processes.monitor;
    }
    this.found(state);
    await this.save();
  }

  /** The state in memory alone: `save` must follow. */
  found(state: ContainerState): void {
    this.#state = state;
    this.#revision++;
    if (!isLive(state)) {
      this.#exited.resolve();
      for (const end of this.dependents) end();
    }
  }

  /** Writes state.json [D174]. It is a record of a running process, lost with the boot anyway: no fsync. */
  async save(): Promise<void> {
    if (this.removed) return;
    const { id, createdAt, runDirectory, stateDirectory, spec } = this.facts;
    const text = encodeStateFile(
      { state: this.#state, createdAt, init: this.#init, monitor: this.#monitor },
      { id, ociVersion: spec.ociVersion, bundle: runDirectory, annotations: spec.annotations },
    );
    await writeFileAtomic(join(stateDirectory, 'state.json'), text, { mode: 0o644, sync: false });
  }
}

/** What an operation on it is told of. */
export function subjectOf({ facts }: Container): Subject {
  return { pod: facts.pod.id, container: facts.id, name: facts.name };
}

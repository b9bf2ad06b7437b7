import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Nanoseconds } from '../clock/index.ts';
import { type Container, type PodForCreation, initIsAlive } from '../containers/index.ts';
import type { SandboxId } from '../ids/index.ts';
import type { NamespaceKind, PinKind } from '../linux/index.ts';
import type { CniResult, PodNetwork, PortMapping } from '../network/index.ts';
import type { OciRuntime } from '../oci/runtime/index.ts';
import {
  type IdMappings,
  NamespaceMode,
  type NamespaceOption,
  type OciSpec,
  type PodSandboxMetadata,
  type SandboxFacts as SandboxSpecFacts,
  type StringMap,
} from '../oci/spec/index.ts';
import { Mutex } from '../sync/index.ts';

/** What never changes in a pod's life. */
export interface SandboxFacts {
  readonly id: SandboxId;
  /** `k8s_<pod>_<namespace>_<uid>_<attempt>` [D4] */
  readonly name: string;
  /** `k8s_POD_…` [D5] */
  readonly infraName: string;
  readonly metadata: PodSandboxMetadata;
  readonly labels: StringMap;
  /** Filtered, with the handler's defaults [D38]. */
  readonly annotations: StringMap;
  readonly createdAt: Nanoseconds;
  readonly hostname: string;
  readonly namespaceOptions: NamespaceOption;
  /** Pin files, host namespaces too (docs/reference/cri-o-ondisk.md §5.6); empty for a pod that could not be restored whole. */
  readonly pins: Readonly<Partial<Record<PinKind, string | undefined>>>;
  /** Of its user namespace; undefined: it is in the host's. */
  readonly idMappings: IdMappings | undefined;
  /** Its requests name users and groups by the host's ids [F28]. */
  readonly namesHostIds: boolean;
  readonly hostNetwork: boolean;
  readonly privileged: boolean;
  /** As CRI gave it. */
  readonly cgroupParent: string;
  /** `linux.cgroupsPath` of the infra container. */
  readonly cgroupsPath: string;
  readonly portMappings: readonly PortMapping[];
  readonly logDirectory: string;
  readonly resolvPath: string;
  readonly hostnamePath: string;
  readonly shmPath: string;
  /** The request's handler, may be empty; `runtime` is what it came down to. */
  readonly runtimeHandler: string;
  readonly runtime: OciRuntime;
  readonly spec: OciSpec;
  readonly directory: string;
  readonly runDirectory: string;
}

/** One pod: facts, what is running in it, and how far its end has come. */
export class Sandbox implements PodForCreation {
  readonly facts: SandboxFacts;
  /** Creating a container holds it shared with nobody but stop and remove [D95]: see `Admission`. */
  readonly admission = new Admission();
  /** Serialises stop and remove. */
  readonly lock = new Mutex();
  readonly containers = new Set<Container>();
  /** The pause container, where the pod shares its PID namespace; else undefined [D75]. */
  infra: Container | undefined;
  ips: readonly string[];
  cniResult: CniResult | undefined;
  stopped = false;
  networkStopped = false;
  removed = false;
  /** Settles with the end of a removal that nobody asked for: until then the name is not free, and the pod nobody's any more. */
  leaving: Promise<void> | undefined;
  #revision = 0;

  constructor(facts: SandboxFacts, network: { readonly ips: readonly string[]; readonly cniResult: CniResult | undefined }) {
    this.facts = facts;
    this.ips = network.ips;
    this.cniResult = network.cniResult;
  }

  get id(): SandboxId {
    return this.facts.id;
  }

  get name(): string {
    return this.facts.name;
  }

  get revision(): number {
    return this.#revision;
  }

  touch(): void {
    this.#revision++;
  }

  /** No process, no conmon: its state and markers lie in the run directory (docs/reference/cri-o-ondisk.md §5.2). */
  get spoofed(): boolean {
    return this.infra === undefined;
  }

  get stateDirectory(): string {
    return this.spoofed ? this.facts.runDirectory : this.facts.directory;
  }

  get runtime(): OciRuntime {
    return this.facts.runtime;
  }

  get runtimeHandler(): string {
    return this.facts.runtimeHandler;
  }

  get namesHostIds(): boolean {
    return this.facts.namesHostIds;
  }

  get logDirectory(): string {
    return this.facts.logDirectory;
  }

  /** The pod as the specs of its containers see it. */
  get specFacts(): SandboxSpecFacts {
    const { facts } = this;
    const shared = (kind: NamespaceKind, isHost: boolean) => (isHost ? undefined : facts.pins[kind]);
    return {
      id: this.id,
      name: facts.name,
      hostname: facts.hostname,
      annotations: facts.annotations,
      labels: facts.labels,
      ips: this.ips,
      namespaces: {
        network: shared('net', facts.hostNetwork),
        ipc: shared('ipc', facts.namespaceOptions.ipc === NamespaceMode.NODE),
        uts: facts.pins.uts,
        user: facts.pins.user,
      },
      infra: this.infra === undefined ? 'dropped' : initIsAlive(this.infra) ? { pid: this.infra.init?.pid ?? 0 } : 'dead',
      hostNetwork: facts.hostNetwork,
      privileged: facts.privileged,
      cgroupParent: facts.cgroupParent,
      idMappings: facts.idMappings,
      resolvPath: facts.resolvPath,
      shmPath: facts.shmPath,
      hostnamePath: facts.hostnamePath,
      containerEnvPath: join(this.stateDirectory, '.containerenv'),
    };
  }

  get network(): PodNetwork {
    const { id, metadata, pins, cgroupParent, annotations, portMappings } = this.facts;
    return {
      id,
      name: metadata.name,
      namespace: metadata.namespace,
      uid: metadata.uid,
      sandboxName: this.facts.name,
      netnsPath: pins.net,
      cgroupParent,
      annotations,
      portMappings,
    };
  }

  /** Remembered over a restart by empty files [D101]. */
  async markStopped(): Promise<void> {
    this.stopped = true;
    this.touch();
    await this.#mark('stopped');
  }

  async markNetworkStopped(): Promise<void> {
    this.networkStopped = true;
    await this.#mark('network-stopped');
  }

  async #mark(name: string): Promise<void> {
    try {
      await writeFile(join(this.stateDirectory, name), '', { mode: 0o644 });
    } catch (error) {
      // A pod whose directory is already gone has nothing left to remember.
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
    }
  }
}

/** Many creations at a time, or one stop: a stop waits for the creations that run, and no later one begins [D95]. */
export class Admission {
  readonly #running = new Set<Promise<unknown>>();

  /** Runs one creation; the pod's `stopped` flag is the caller's to look at inside. */
  async enter<T>(work: () => Promise<T>): Promise<T> {
    const promise = work();
    this.#running.add(promise);
    try {
      return await promise;
    } finally {
      this.#running.delete(promise);
    }
  }

  /** Settles when every creation that runs now has ended. */
  async drained(): Promise<void> {
    await Promise.allSettled(this.#running);
  }
}

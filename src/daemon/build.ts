import { mkdir } from 'node:fs/promises';
import { dirname, isAbsolute, join } from 'node:path';
import type { Config } from '../config/index.ts';
import { type ContainerContext, ContainerRegistry, type CreationContext, Creations, ExitWatcher, Journal } from '../containers/index.ts';
import { Failure } from '../errors/index.ts';
import type { ImageService, StorePlace } from '../images/index.ts';
import { NamespaceMaker, PIN_KINDS, ProcessWatcher, type ProjectLimits, Readiness } from '../linux/index.ts';
import type { Logger } from '../log/index.ts';
import { NetworkService } from '../network/index.ts';
import { readHostFacts } from '../oci/host/index.ts';
import { Debris, LifeEvents, type PodContext, SandboxRegistry, pinDirectory } from '../pods/index.ts';
import type { RuntimeHandler } from '../oci/runtime/index.ts';
import { type SeccompProfile, type SeccompSettings, loadDefaultSeccomp, loadSeccompProfile } from '../security/index.ts';
import { Tracer, faultsFrom } from '../steps/index.ts';
import { LayerUnpacker, Store, parseStorageOptions } from '../storage/index.ts';
import { Flights } from '../sync/index.ts';
import { buildRuntimes } from './handlers.ts';
import { buildImages } from './images.ts';
import { buildMonitors } from './monitors.ts';
import type { LiveRegistries } from './registries.ts';
import {
  UNPACK_THREADS,
  type RegistriesFlags,
  cgroupManagerOf,
  creationSettings,
  networkSettings,
  podSettings,
  specSettings,
} from './settings.ts';

/** Everything that the daemon consists of, built once, in the order of dependency. */
export interface Node {
  readonly pods: PodContext;
  readonly containers: ContainerContext;
  readonly images: ImageService;
  readonly registries: LiveRegistries;
  readonly network: NetworkService;
  readonly store: Store;
  readonly exits: ExitWatcher;
  readonly debris: Debris;
  readonly life: LifeEvents;
  /** Ends workers and watches, the last made first; containers stay. */
  close(): Promise<void>;
}

export async function buildNode(config: Config, flags: RegistriesFlags, env: NodeJS.ProcessEnv, log: Logger): Promise<Node> {
  await makeDirectories(config);
  const manager = cgroupManagerOf(config);
  const host = readHostFacts();
  const { place, limits } = storePlace(config);
  const network = new NetworkService({ settings: networkSettings(config, env), log });
  // Side by side: most of it waits for programs that are asked what they can do.
  const [store, runtimes] = await Promise.all([
    Store.open({ ...place, limits, log }),
    buildRuntimes(config.runtime.runtimes, config.runtime.defaultRuntime, manager === 'systemd', log),
    network.start(),
  ]);
  const unpacker = new LayerUnpacker({ log, maxThreads: UNPACK_THREADS });
  const monitors = buildMonitors(config, env, log);
  const { images, registries } = await buildImages(config, env, { store, place, unpacker, scopes: monitors.scopes, flags, log });
  const namespaces = new NamespaceMaker();
  const handlers = runtimes.list().map((runtime) => runtime.handler);
  const seccomp = await seccompSettings(config, host.seccomp, handlers, log);

  const journal = await openJournal(config);
  const tracer = tracerOf(env, log);
  const registry = new SandboxRegistry();
  const life = new LifeEvents(registry, log);
  const containers: ContainerContext = {
    store,
    registry: new ContainerRegistry((id) => registry.get(id) !== undefined),
    exitsDir: config.runtime.containerExitsDir,
    attachSocketDir: config.runtime.containerAttachSocketDir,
    journal,
    tracer,
    log,
    watch: (container) => exits.watch(container),
    onEvent: life.ofContainer,
  };
  const readiness = new Readiness();
  const exits = new ExitWatcher(containers, readiness, new ProcessWatcher(readiness));
  const shared = { store, images, host, seccomp, log, specSettings: specSettings(config), monitorSettings: monitors.settings };
  const containerCreation: CreationContext = { ...shared, containers, settings: creationSettings(config), creations: new Creations() };
  const pods: PodContext = {
    ...shared,
    network,
    namespaces,
    runtimes,
    containers,
    containerCreation,
    registry,
    journal,
    tracer,
    unpacker,
    pausePulls: new Flights(),
    settings: podSettings(config),
    creations: new Creations(),
    onEvent: life.ofPod,
  };
  const debris = new Debris(pods); // It listens to the journal.
  const close = async () => {
    await exits.stop();
    readiness.close();
    await monitors.close();
    await namespaces.close();
    await network.stop();
    await registries.close();
    images.close();
    await unpacker.close();
    await store.close({ sync: true });
  };
  return { pods, containers, images, registries, network, store, exits, debris, life, close };
}

async function openJournal({ runtime }: Config): Promise<Journal> {
  const journal = new Journal(join(dirname(runtime.containerExitsDir), 'journal'));
  await journal.prepare();
  return journal;
}

/** Where the store is, and what limits its writable layers: a pull in a process of its own makes none. */
function storePlace({ crio, runtime }: Config): { readonly place: StorePlace; readonly limits: ProjectLimits } {
  const { additionalArtifactStores } = runtime;
  const odd = additionalArtifactStores.find((path) => !isAbsolute(path));
  if (odd !== undefined) throw new Failure('InvalidArgument', `additional_artifact_stores entry must be absolute: ${JSON.stringify(odd)}`);
  const { limits, ...options } = parseStorageOptions(crio.storageOption);
  const place = { graphRoot: crio.root, runRoot: crio.runroot, imageStore: crio.imagestore, ...options, additionalArtifactStores };
  return { place, limits };
}

/** With the points that crash tests end it at, if it is started by one. */
function tracerOf(env: NodeJS.ProcessEnv, log: Logger): Tracer {
  const faults = env['CRIO_TEST_FAULTS'];
  return new Tracer(log, faults === undefined ? undefined : faultsFrom(faults));
}

async function makeDirectories(config: Config): Promise<void> {
  const { runtime, crio } = config;
  const directories = [runtime.containerExitsDir, runtime.containerAttachSocketDir, crio.logDir];
  directories.push(...PIN_KINDS.map((kind) => pinDirectory(runtime.namespacesDir, kind)));
  for (const path of directories) await mkdir(path, { recursive: true, mode: 0o755 });
}

/** Profiles are read once; a handler with a profile of its own has it instead of the global one [K16]. */
async function seccompSettings(
  config: Config,
  supported: boolean,
  handlers: readonly RuntimeHandler[],
  log: Logger,
): Promise<(handler: RuntimeHandler) => SeccompSettings> {
  const loaded = await loadDefaultSeccomp(config.runtime.seccompProfile);
  log.info(loaded.message);
  const own = new Map<string, SeccompProfile>();
  for (const { name, seccompProfile } of handlers) {
    if (seccompProfile !== '') own.set(name, await loadSeccompProfile(seccompProfile));
  }
  return ({ name }) => ({
    supported,
    runtimeDefault: own.get(name) ?? loaded.profile,
    privilegedProfile: config.runtime.privilegedSeccompProfile,
  });
}

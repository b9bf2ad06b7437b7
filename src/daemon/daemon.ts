import type { Socket } from 'node:net';
import { type Config, type LoadedConfig, type Message, loadConfig, serializeConfig, validateConfig } from '../config/index.ts';
import type { Logger } from '../log/index.ts';
import { restoreAll, undoHalfMade, wipePods } from '../pods/index.ts';
import { CriServer, Listener, PodEvents, PullBoard, StreamingServer, criHandlers, inspectApi, streamingBackend } from '../server/index.ts';
import { RUNTIME_VERSION } from '../version/index.ts';
import { type Node, buildNode } from './build.ts';
import { buildLogger } from './log.ts';
import { notifyReady } from './notify.ts';
import { OrphanCollection } from './orphans.ts';
import { ORPHAN_AGE_S, mendOnSight, mendStore, pullAgain } from './repair.ts';
import { type RegistriesFlags, cgroupManagerOf, streamingSettings } from './settings.ts';
import { ReloadSignal, stopSignal, surviveDefects } from './signals.ts';
import { StateFiles } from './version-file.ts';

/** How long running calls, and creations whose client has left, may take to end when the daemon stops. */
const STOP_GRACE_MS = 5000;

/** Runs the daemon until a signal ends it, and with it the process. Failures of the start are thrown. */
export async function runDaemon(options: { readonly args: readonly string[]; readonly env: NodeJS.ProcessEnv }): Promise<never> {
  const loaded = loadConfig(options);
  const log = buildLogger(loaded);
  const { config, messages } = validateConfig(loaded.config, { onExecution: true, env: options.env });
  report(loaded, messages, log);
  process.umask(0o022);
  // What bin/crio tunes our own allocator with is nothing for the plugins that inherit our environment.
  for (const name of Object.keys(process.env)) if (name.startsWith('MALLOC_')) delete process.env[name];
  surviveDefects(log);
  const stopped = stopSignal(log);
  const reloads = new ReloadSignal(log);
  const daemon = await startDaemon({ config, flags: loaded.commandLine, env: options.env, log, reloads });
  await stopped;
  await daemon.stop();
  // Work that nobody waits for any more (a stop with an hour of grace) must not keep the process: the next daemon goes on with it.
  process.exit(0);
}

interface Start {
  readonly config: Config;
  readonly flags: RegistriesFlags;
  readonly env: NodeJS.ProcessEnv;
  readonly log: Logger;
  readonly reloads: ReloadSignal;
}

interface RunningDaemon {
  stop(): Promise<void>;
}

/** What a stop has to end. */
interface Parts {
  readonly listener: Listener;
  readonly server: CriServer;
  readonly streaming: StreamingServer;
  readonly node: Node;
  readonly state: StateFiles;
  readonly background: Background;
  readonly orphans: OrphanCollection;
  readonly log: Logger;
}

/** Socket, restore, serve, in the order that loses nothing: the exits are watched before states are read. */
async function startDaemon({ config, flags, env, log, reloads }: Start): Promise<RunningDaemon> {
  log.info(`Starting CRI-O, version: ${RUNTIME_VERSION}`);
  let serve: ((socket: Socket) => void) | undefined;
  const waiting: Socket[] = [];
  const pulls = new PullBoard();
  const inspect = inspectApi({ config, pulls, serialize: () => serializeConfig(config) });
  const listener = new Listener(
    config.api.listen,
    (socket) => (serve === undefined ? waiting.push(socket) : serve(socket)),
    inspect.handle,
    log,
  );
  await listener.refuseIfInUse();
  const state = new StateFiles({ ...config.crio, log });
  const node = await buildNode(config, flags, env, log);
  const streaming = new StreamingServer(streamingSettings(config), streamingBackend(node.pods), log);
  try {
    const lost = await mendStore(config.crio, node.store, log);
    node.exits.start();
    const behind = await takeUp(config, node, state, log);
    inspect.attach(node.pods, node.debris);
    await streaming.listen();
    const server = criServer(config, node, streaming, pulls, log);
    await listener.listen();
    serve = (socket) => server.serve(socket);
    for (const socket of waiting) serve(socket);
    log.info(`Serving CRI on ${config.api.listen}`);
    reloads.serve(() => node.registries.reload());
    notifyReady(env, log);
    void pullAgain(lost, node.images, log);
    mendOnSight(node.store, node.images, log);
    const background = new Background(behind);
    // The sound layers of images that were lost are for their pull.
    const orphans = new OrphanCollection(node.store, { olderThanS: ORPHAN_AGE_S, atOnce: lost.length === 0, log });
    return { stop: () => stop({ listener, server, streaming, node, state, background, orphans, log }) };
  } catch (error) {
    await listener.close();
    await streaming.close();
    await node.close();
    throw error;
  }
}

/** What is done beside requests; the signal lets it end early. */
type Behind = (signal: AbortSignal) => Promise<void>;

/**
 * Goes on from what is on disk: what a crash cut off is undone, pods and containers are restored. Only what requests depend on
 * happens now; clean-up after what ended meanwhile and the removal of pods of an earlier boot are the answer (p31).
 */
async function takeUp({ crio }: Config, node: Node, state: StateFiles, log: Logger): Promise<readonly Behind[]> {
  const { finish } = await undoHalfMade(node.pods, node.debris);
  const restored = await restoreAll(node.pods, (id) => node.debris.has(id));
  await finish();
  await node.exits.scan();
  await node.store.collectGarbage();
  const { sandboxes, containers, broken } = restored;
  const unread = broken.length === 0 ? '' : `, ${broken.length} records could not be read`;
  log.info(`Restored ${sandboxes} pods and ${containers} containers${unread}`);
  const wipe = crio.internalWipe ? await state.wipeDecision() : { pods: false, images: false };
  const behind = [restored.cleanUp, ...(wipe.pods ? [wipePods(node.pods, wipe.images ? restored.images : new Set())] : [])];
  await state.begin();
  return behind;
}

/** Work beside requests, one piece after the other. */
class Background {
  readonly #stopping = new AbortController();
  readonly #done: Promise<void>;

  constructor(work: readonly Behind[]) {
    this.#done = this.#run(work);
  }

  async #run(work: readonly Behind[]): Promise<void> {
    for (const piece of work) await piece(this.#stopping.signal);
  }

  /** Begins nothing more; settles when what is under way has ended. */
  async stop(): Promise<void> {
    this.#stopping.abort();
    await this.#done;
  }
}

function criServer(config: Config, node: Node, streaming: StreamingServer, pulls: PullBoard, log: Logger): CriServer {
  const handlers = criHandlers({
    pods: node.pods,
    containers: node.containers,
    images: node.images,
    pulls,
    events: config.runtime.enablePodEvents ? podEvents(node) : undefined,
    streaming,
    runtimeVersion: RUNTIME_VERSION,
    verboseConfig: () =>
      JSON.stringify({ sandboxImage: config.image.pauseImage, crio: { CgroupManager: cgroupManagerOf(config), ...plain(config.runtime) } }),
  });
  return new CriServer(
    handlers,
    { maxReceive: Number(config.api.grpcMaxRecvMsgSize), maxSend: Number(config.api.grpcMaxSendMsgSize) },
    log,
  );
}

function podEvents({ pods, containers, life }: Node): PodEvents {
  const events = new PodEvents(pods.registry, containers.registry);
  life.listen((event) => events.tell(event));
  return events;
}

/** Maps become objects, so that JSON shows them. */
function plain(value: unknown): Record<string, unknown> {
  return JSON.parse(
    JSON.stringify(value, (_, item: unknown): unknown =>
      item instanceof Map ? Object.fromEntries(item) : typeof item === 'bigint' ? Number(item) : item,
    ),
  ) as Record<string, unknown>;
}

/**
 * Containers go on: only what this process holds is given back. Calls and creations get STOP_GRACE_MS; a creation that needs
 * longer is cut off as by a crash: the journal knows it, and the next start undoes it.
 */
async function stop({ listener, server, streaming, node, state, background, orphans, log }: Parts): Promise<void> {
  const deadline = Date.now() + STOP_GRACE_MS;
  const closed = listener.close();
  const behind = Promise.all([background.stop(), node.debris.stop(), orphans.stop()]);
  await server.stop(STOP_GRACE_MS);
  await closed;
  await streaming.close();
  const cutOff = await workAfter(node, behind, Math.max(0, deadline - Date.now()));
  if (cutOff.length > 0) {
    log.warn(`Stopping in the middle of ${cutOff.join(', ')}: the next start goes on`);
    await node.store.syncFileSystem();
  } else {
    await node.close();
  }
  await state.end();
  log.info('Stopped, containers go on');
}

/** What is still being done after so long. */
async function workAfter({ pods }: Node, behind: Promise<unknown>, graceMs: number): Promise<string[]> {
  const all = [pods.creations, pods.containerCreation.creations];
  let cleaning = true;
  const cleaned = behind.then(() => (cleaning = false));
  const { promise: late, resolve } = Promise.withResolvers<void>();
  const timer = setTimeout(resolve, graceMs);
  await Promise.race([Promise.all([...all.map((creations) => creations.drained()), cleaned]), late]);
  clearTimeout(timer);
  const made = all.flatMap((creations) => creations.names()).map((name) => `making ${name}`);
  return cleaning ? [...made, 'cleaning up'] : made;
}

function report(loaded: LoadedConfig, messages: readonly Message[], log: Logger): void {
  for (const notice of loaded.notices) log.info(notice);
  for (const warning of loaded.warnings) log.warn(warning);
  for (const { level, text } of messages) log[level === 'warning' ? 'warn' : level](text);
  if (loaded.unhonoured.length === 0) return;
  const keys = loaded.unhonoured.map(({ key, source }) => `${key} (${source})`);
  log.warn(`Set, but without effect in this version yet: ${keys.join(', ')}`);
}

/** Starts a pod as a kubelet would: images, sandbox, init containers one after another, then the others. */
import { randomUUID } from 'node:crypto';
import { mkdir, readFile } from 'node:fs/promises';
import { hostname, totalmem } from 'node:os';
import { dirname } from 'node:path';
import { Failure, codeOf, wrap } from '../../errors/index.ts';
import { silentLogger } from '../../log/index.ts';
import { UndoStack } from '../../sync/index.ts';
import { type Image, type MessageInput, type PodSandboxConfig, services } from '../../wire/index.ts';
import { type CriConnection, pullImage, waitForExit } from '../client/index.ts';
import {
  type NodeFacts,
  type Pod,
  type PodContainer,
  type PodFacts,
  checkNonRoot,
  containerConfig,
  parseResolvConf,
  pullPolicyOf,
  sandboxConfig,
} from '../manifest/index.ts';
import type { ProgressBoard } from '../render/index.ts';
import { type Volumes, mountSources, prepareVolumes, removePodFiles } from './files.ts';

const { RuntimeService: runtime, ImageService: images } = services;

export interface LaunchOptions {
  readonly stateDir: string;
  readonly board: (image: string) => ProgressBoard | undefined;
  /** Called with an init container that failed, while its log is still there. */
  readonly onInitFailure: (container: RunningContainer) => Promise<void>;
  readonly signal: AbortSignal;
}

export interface RunningContainer {
  readonly name: string;
  readonly id: string;
  readonly logPath: string;
}

export interface RunningPod {
  readonly id: string;
  readonly uid: string;
  /** Without init containers, but for those that go on running. */
  readonly containers: readonly RunningContainer[];
}

/** Failure: whatever went wrong first; nothing of the pod is left then, but for the images. */
export async function launchPod(cri: CriConnection, pod: Pod, options: LaunchOptions): Promise<RunningPod> {
  const uid = pod.metadata.uid ?? randomUUID();
  const node = await nodeFacts();
  const config = sandboxConfig(pod, uid, node);
  const imageOf = await prepareImages(cri, pod, config, options);
  const undo = new UndoStack(silentLogger);
  try {
    undo.push(`remove the directories of pod ${uid} below ${options.stateDir}`, () => removePodFiles(options.stateDir, uid));
    const volumes = await prepareVolumes(pod, uid, options.stateDir);
    options.signal.throwIfAborted();
    const { podSandboxId } = await cri.call(runtime.RunPodSandbox, { config, runtimeHandler: pod.spec.runtimeClassName });
    undo.push(`remove pod ${podSandboxId}`, () => removePod(cri, podSandboxId));
    const launcher = new Launcher(
      cri,
      pod,
      { podSandboxId, config, node, imageOf, volumes, facts: await podFacts(cri, podSandboxId, uid) },
      options,
    );
    const containers = await launcher.startAll();
    undo.release();
    return { id: podSandboxId, uid, containers };
  } catch (error) {
    const leftovers = await undo.run();
    if (leftovers.length === 0) throw error;
    throw wrap(`could not ${leftovers.join(', nor ')}, after an earlier failure`, error);
  }
}

/** Ends a pod whatever it does, and takes it away. */
export async function removePod(cri: CriConnection, podSandboxId: string): Promise<void> {
  await cri.call(runtime.StopPodSandbox, { podSandboxId });
  await cri.call(runtime.RemovePodSandbox, { podSandboxId });
}

async function nodeFacts(): Promise<NodeFacts> {
  const resolvConf = await readFile('/etc/resolv.conf', 'utf8').catch(() => '');
  return { resolver: parseResolvConf(resolvConf), memoryBytes: BigInt(totalmem()) };
}

async function podFacts(cri: CriConnection, podSandboxId: string, uid: string): Promise<PodFacts> {
  const { status } = await cri.call(runtime.PodSandboxStatus, { podSandboxId });
  const network = status?.network;
  const ips = [network?.ip ?? '', ...(network?.additionalIps ?? []).map(({ ip }) => ip)].filter((ip) => ip !== '');
  return { uid, nodeName: hostname(), ips };
}

/** Every image of the pod, pulled as its policy says; by the name that the manifest uses. */
async function prepareImages(
  cri: CriConnection,
  pod: Pod,
  sandbox: MessageInput<PodSandboxConfig>,
  options: LaunchOptions,
): Promise<ReadonlyMap<string, Image>> {
  const found = new Map<string, Image>();
  const runtimeHandler = pod.spec.runtimeClassName;
  for (const container of [...pod.spec.initContainers, ...pod.spec.containers]) {
    if (found.has(container.image)) continue;
    options.signal.throwIfAborted();
    const policy = pullPolicyOf(container);
    const spec = { image: container.image, runtimeHandler };
    let { image } = policy === 'Always' ? { image: undefined } : await cri.call(images.ImageStatus, { image: spec });
    if (image === undefined && policy === 'Never') {
      throw new Failure('NotFound', `image ${container.image} is not on this node, and imagePullPolicy is Never`, {
        advice: `crio pull ${container.image}`,
      });
    }
    if (image === undefined) {
      const imageRef = await pullImage(cri, container.image, {
        sandboxConfig: sandbox,
        runtimeHandler,
        board: options.board(container.image),
      });
      ({ image } = await cri.call(images.ImageStatus, { image: { image: imageRef, runtimeHandler } }));
    }
    if (image === undefined) throw new Failure('NotFound', `image ${container.image} is gone again`);
    checkNonRoot(pod, container, image);
    found.set(container.image, image);
  }
  for (const container of pod.spec.containers) checkNonRoot(pod, container, found.get(container.image));
  return found;
}

interface Sandbox {
  readonly podSandboxId: string;
  readonly config: MessageInput<PodSandboxConfig>;
  readonly node: NodeFacts;
  readonly imageOf: ReadonlyMap<string, Image>;
  readonly volumes: Volumes;
  readonly facts: PodFacts;
}

/** Creates and starts the containers of one sandbox. */
class Launcher {
  readonly #cri: CriConnection;
  readonly #pod: Pod;
  readonly #sandbox: Sandbox;
  readonly #options: LaunchOptions;

  constructor(cri: CriConnection, pod: Pod, sandbox: Sandbox, options: LaunchOptions) {
    this.#cri = cri;
    this.#pod = pod;
    this.#sandbox = sandbox;
    this.#options = options;
  }

  async startAll(): Promise<RunningContainer[]> {
    const running: RunningContainer[] = [];
    for (const container of this.#pod.spec.initContainers) {
      const started = await this.#start(container);
      // restartPolicy: Always makes a sidecar of it: it starts before the others and stays.
      if (container.restartPolicy === 'Always') running.push(started);
      else await this.#awaitInit(started);
    }
    for (const container of this.#pod.spec.containers) running.push(await this.#start(container));
    return running;
  }

  async #start(container: PodContainer): Promise<RunningContainer> {
    this.#options.signal.throwIfAborted();
    try {
      const containerId = await this.#create(container);
      await this.#cri.call(runtime.StartContainer, { containerId });
      const { status } = await this.#cri.call(runtime.ContainerStatus, { containerId });
      return { name: container.name, id: containerId, logPath: status?.logPath ?? '' };
    } catch (error) {
      throw wrap(`container ${container.name}`, error);
    }
  }

  async #create(container: PodContainer): Promise<string> {
    const { podSandboxId, config: sandbox, node, facts, imageOf, volumes } = this.#sandbox;
    const image = imageOf.get(container.image);
    const sources = await mountSources(container, volumes);
    const config = containerConfig(this.#pod, container, facts, node, image?.id ?? container.image, sources);
    await makeLogDirectory(`${sandbox.logDirectory ?? ''}/${config.logPath ?? ''}`);
    const { containerId } = await this.#cri.call(runtime.CreateContainer, { podSandboxId, config, sandboxConfig: sandbox });
    return containerId;
  }

  async #awaitInit(container: RunningContainer): Promise<void> {
    const status = await waitForExit(this.#cri, container.id, this.#options.signal);
    if (status.exitCode === 0) return;
    await this.#options.onInitFailure(container);
    throw new Failure('FailedPrecondition', `init container ${container.name} ended with exit code ${status.exitCode}`);
  }
}

/** The pod's log directory is the daemon's [D44]; the container's below it is the kubelet's to make. */
async function makeLogDirectory(logPath: string): Promise<void> {
  try {
    await mkdir(dirname(logPath), { recursive: true, mode: 0o755 });
  } catch (error) {
    if (codeOf(error) !== 'EACCES') throw error;
    throw new Failure('PermissionDenied', `no permission to make ${dirname(logPath)}`, {
      cause: error,
      advice: 'Run this command as root.',
    });
  }
}

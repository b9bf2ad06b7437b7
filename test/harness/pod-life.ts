import assert from 'node:assert/strict';
import { ContainerState, PodSandboxState } from '../../src/wire/index.ts';
import { BUSYBOX, type TestNode } from './node.ts';
import { OBEDIENT, type PodInput, containerConfig, podConfig } from './pods.ts';

export interface LifeOptions {
  readonly runtimeHandler: string;
  /** What the pod's configuration has besides the usual. */
  readonly pod?: (base: PodInput) => PodInput;
}

/**
 * A pod with one container, from RunPodSandbox to RemovePodSandbox, call by call as a kubelet makes them. Every call
 * may be repeated: `next` stays where it is until a call has succeeded.
 */
export class PodLife {
  readonly #node: TestNode;
  readonly #options: LifeOptions;
  readonly #config: PodInput;
  readonly #calls: readonly (readonly [string, () => Promise<unknown>])[];
  #at = 0;
  podSandboxId = '';
  containerId = '';

  constructor(node: TestNode, name: string, options: LifeOptions) {
    this.#node = node;
    this.#options = options;
    this.#config = options.pod?.(podConfig(node.machine, name)) ?? podConfig(node.machine, name);
    this.#calls = [
      ['RunPodSandbox', () => this.#runPod()],
      ['CreateContainer', () => this.#create()],
      ['StartContainer', () => this.#start()],
      ['StopContainer', () => this.#node.client.StopContainer({ containerId: this.containerId, timeout: 2n })],
      ['RemoveContainer', () => this.#node.client.RemoveContainer({ containerId: this.containerId })],
      ['StopPodSandbox', () => this.#node.client.StopPodSandbox({ podSandboxId: this.podSandboxId })],
      ['RemovePodSandbox', () => this.#node.client.RemovePodSandbox({ podSandboxId: this.podSandboxId })],
    ];
  }

  /** The call that comes next; undefined at the end. */
  get next(): string | undefined {
    return this.#calls[this.#at]?.[0];
  }

  /** Whether that call has not succeeded yet. */
  isAhead(call: string): boolean {
    return this.#calls.some(([name], at) => name === call && at >= this.#at);
  }

  /** Makes the next call. */
  async step(): Promise<void> {
    const call = this.#calls[this.#at];
    assert.ok(call, 'the life is over');
    try {
      await call[1]();
      this.#at++;
    } catch (error) {
      await this.#replaceIfNotReady();
      throw error;
    }
  }

  /** A pod that is not ready before its container has run is taken down for another one, as a kubelet does. */
  async #replaceIfNotReady(): Promise<void> {
    const { client } = this.#node;
    const { podSandboxId } = this;
    if (podSandboxId === '' || this.#at > 2) return;
    const answer = await client.PodSandboxStatus({ podSandboxId }).catch(() => undefined); // The daemon may be dead.
    if (answer?.status?.state !== PodSandboxState.SANDBOX_NOTREADY) return;
    await client.StopPodSandbox({ podSandboxId });
    await client.RemovePodSandbox({ podSandboxId });
    this.#at = 0;
  }

  /** Makes all calls that are left. */
  async finish(): Promise<void> {
    while (this.next !== undefined) await this.step();
  }

  async #runPod(): Promise<void> {
    const { client } = this.#node;
    this.podSandboxId = (await client.RunPodSandbox({ config: this.#config, runtimeHandler: this.#options.runtimeHandler })).podSandboxId;
    const { status } = await client.PodSandboxStatus({ podSandboxId: this.podSandboxId });
    assert.equal(status?.state, PodSandboxState.SANDBOX_READY);
  }

  async #create(): Promise<void> {
    const config = containerConfig('c', BUSYBOX, OBEDIENT);
    const request = { podSandboxId: this.podSandboxId, config, sandboxConfig: this.#config };
    this.containerId = (await this.#node.client.CreateContainer(request)).containerId;
  }

  /** A start that was cut off may have removed its container, as a failed one does [D134]: a kubelet makes another. */
  async #start(): Promise<void> {
    const { client } = this.#node;
    const { containers } = await client.ListContainers({ filter: { id: this.containerId } });
    if (containers.length === 0) await this.#create();
    await client.StartContainer({ containerId: this.containerId });
    const { status } = await client.ContainerStatus({ containerId: this.containerId });
    assert.equal(status?.state, ContainerState.CONTAINER_RUNNING);
    await client.ExecSync({ containerId: this.containerId, cmd: ['true'], timeout: 10n });
  }
}

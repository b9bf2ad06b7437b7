import { type Container, type ContainerEvent } from '../containers/index.ts';
import { textOf } from '../errors/index.ts';
import type { Logger } from '../log/index.ts';
import type { SandboxRegistry } from './registry.ts';
import type { Sandbox } from './sandbox.ts';

/** Something that happened to a container, or (without one) to the pod itself. */
export interface LifeEvent {
  readonly type: ContainerEvent;
  readonly sandbox: Sandbox;
  readonly container?: Container;
}

/**
 * Where everything that happens to pods and containers comes together: what a pod must do when one of its containers ends or goes,
 * and one line of events for whoever listens. A pod is told as created, started, stopped and deleted, each once, whoever
 * saw it and however often.
 */
export class LifeEvents {
  readonly #registry: SandboxRegistry;
  readonly #log: Logger;
  #listener: ((event: LifeEvent) => void) | undefined;
  /** Pods that were told as started; true once they were told as stopped. */
  readonly #told = new WeakMap<Sandbox, boolean>();

  constructor(registry: SandboxRegistry, log: Logger) {
    this.#registry = registry;
    this.#log = log;
  }

  /** From now on. Pods that are there already are as known as their state. */
  listen(listener: (event: LifeEvent) => void): void {
    for (const sandbox of this.#registry.list()) this.#told.set(sandbox, sandbox.stopped);
    this.#listener = listener;
  }

  /** For ContainerContext. */
  readonly ofContainer = (type: ContainerEvent, container: Container): void => {
    const sandbox = this.#registry.get(container.facts.pod.id);
    if (sandbox === undefined) return;
    if (container.id === (sandbox.id as string)) {
      if (type === 'stopped') this.#infraEnded(sandbox);
      return;
    }
    if (type === 'deleted') sandbox.containers.delete(container);
    this.#tell({ type, sandbox, container });
  };

  /** For PodContext. */
  readonly ofPod = (type: 'started' | 'stopped' | 'deleted', sandbox: Sandbox): void => {
    if (type === 'started') this.#started(sandbox);
    else this.#stopped(sandbox);
    if (type === 'deleted') this.#tell({ type, sandbox });
  };

  /** A pause container that ends takes its pod with it [D111]. */
  #infraEnded(sandbox: Sandbox): void {
    if (sandbox.stopped) return;
    void sandbox.markStopped().catch((error) => this.#log.error(`Marking pod ${sandbox.id} as stopped failed: ${textOf(error)}`));
    this.#stopped(sandbox);
  }

  #started(sandbox: Sandbox): void {
    this.#told.set(sandbox, false);
    this.#tell({ type: 'created', sandbox });
    this.#tell({ type: 'started', sandbox });
    if (sandbox.stopped) this.#stopped(sandbox); // Its pause process has ended already.
  }

  #stopped(sandbox: Sandbox): void {
    if (this.#told.get(sandbox) !== false) return;
    this.#told.set(sandbox, true);
    this.#tell({ type: 'stopped', sandbox });
  }

  #tell(event: LifeEvent): void {
    this.#listener?.(event);
  }
}

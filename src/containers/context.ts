import type { Logger } from '../log/index.ts';
import type { Tracer } from '../steps/index.ts';
import type { Store } from '../storage/index.ts';
import type { Container } from './container.ts';
import type { Journal } from './journal.ts';
import type { ContainerRegistry } from './registry.ts';

export type ContainerEvent = 'created' | 'started' | 'stopped' | 'deleted';

/** What every verb of a container works with: built once by the daemon, handed to each verb. */
export interface ContainerContext {
  readonly store: Store;
  readonly registry: ContainerRegistry;
  /** conmon leaves `<id>` there when a container has ended. */
  readonly exitsDir: string;
  /** conmon leaves a link `<id>` to the run directory there. */
  readonly attachSocketDir: string;
  readonly journal: Journal;
  readonly tracer: Tracer;
  readonly log: Logger;
  /** Lets the exit watcher see the processes of a container that has them by now. */
  readonly watch: (container: Container) => void;
  /** Told after the fact; must not throw. */
  readonly onEvent: (event: ContainerEvent, container: Container) => void;
}

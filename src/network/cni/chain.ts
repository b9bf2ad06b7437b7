import { Failure } from '../../errors/index.ts';
import { step } from '../../steps/index.ts';
import type { Execution, Plugins } from './plugins.ts';

/**
 * The CNI project's own plugins: they read all of their input before they look at anything else, and an input that ends
 * early fails them. Of others nobody knows that, so these are started at their turn.
 */
const READS_FIRST: ReadonlySet<string> = new Set([
  'bandwidth',
  'bridge',
  'dummy',
  'firewall',
  'host-device',
  'ipvlan',
  'macvlan',
  'portmap',
  'ptp',
  'sbr',
  'tap',
  'tuning',
  'vlan',
  'vrf',
]);

/**
 * Executes the plugins of a chain one after another. While one works the next is started already, so that its own start, half
 * of what a small plugin takes, is over when it gets its input. One that is not given any is killed.
 */
export class PluginChain implements AsyncDisposable {
  readonly #plugins: Plugins;
  readonly #types: readonly string[];
  readonly #execution: Omit<Execution, 'stdin'>;
  #turn = 0;
  #waiting: Waiting | undefined;

  constructor(plugins: Plugins, types: readonly string[], execution: Omit<Execution, 'stdin'>) {
    this.#plugins = plugins;
    this.#types = types;
    this.#execution = execution;
  }

  /** Gives the next plugin its input and answers its stdout; fails as `Plugins.execute`. */
  async next(stdin: string): Promise<string> {
    const type = this.#types[this.#turn++] ?? '';
    const waiting = this.#waiting;
    // One that ended while it waited is started again: nothing has come of it.
    const output =
      waiting === undefined || waiting.over ? this.#plugins.execute(type, { ...this.#execution, stdin }) : this.#give(waiting, type, stdin);
    this.#waiting = this.#ahead(this.#types[this.#turn]);
    return await output;
  }

  /** However the step ends, the plugin has. */
  async #give(waiting: Waiting, type: string, stdin: string): Promise<string> {
    try {
      return await step(`${type} ${this.#execution.command}`, () => waiting.finish(stdin));
    } finally {
      await waiting.end();
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#waiting?.end();
  }

  #ahead(type: string | undefined): Waiting | undefined {
    if (type === undefined || !READS_FIRST.has(type)) return undefined;
    return new Waiting((stdin) => this.#plugins.executeAhead(type, { ...this.#execution, stdin }));
  }
}

/** A plugin that runs and waits for its input. */
class Waiting {
  readonly #input = Promise.withResolvers<string>();
  readonly #output: Promise<string>;
  /** Whether it has ended; before it got its input it should not have. */
  over = false;

  constructor(start: (stdin: Promise<string>) => Promise<string>) {
    this.#input.promise.catch(() => {});
    this.#output = start(this.#input.promise).finally(() => (this.over = true));
    this.#output.catch(() => {});
  }

  async finish(stdin: string): Promise<string> {
    this.#input.resolve(stdin);
    return await this.#output;
  }

  async end(): Promise<void> {
    this.#input.reject(new Failure('Canceled', 'a plugin before this one failed'));
    await this.#output.catch(() => {});
  }
}

import { Failure } from '../../errors/index.ts';
import type { OciRuntime } from './runtime.ts';

/** The handlers of this node, by name; the empty name is the default one [D37]. */
export class RuntimeTable {
  readonly #byName: ReadonlyMap<string, OciRuntime>;
  readonly defaultName: string;

  constructor(runtimes: readonly OciRuntime[], defaultName: string) {
    this.#byName = new Map(runtimes.map((runtime) => [runtime.handler.name, runtime]));
    this.defaultName = defaultName;
  }

  list(): readonly OciRuntime[] {
    return [...this.#byName.values()];
  }

  /** Fails with CRI-O's text and the handlers that there are. */
  get(name: string): OciRuntime {
    const runtime = this.#byName.get(name === '' ? this.defaultName : name);
    if (runtime !== undefined) return runtime;
    const known = [...this.#byName.keys()].join(', ');
    throw new Failure('InvalidArgument', `failed to find runtime handler ${name} from runtime list [${known}]`, {
      advice: `Name one of these handlers in the RuntimeClass, or add [crio.runtime.runtimes.${name}] to crio.conf. A handler whose binary is missing was dropped at start, with a warning in the log.`,
    });
  }
}

import { IdIndex } from '../containers/index.ts';
import { Failure } from '../errors/index.ts';
import type { Sandbox } from './sandbox.ts';

/** All pods that have been created, by id and by name. */
export class SandboxRegistry {
  readonly #byId = new IdIndex<Sandbox>();
  readonly #byName = new Map<string, Sandbox>();

  add(sandbox: Sandbox): void {
    this.#byId.add(sandbox);
    this.#byName.set(sandbox.name, sandbox);
  }

  delete(sandbox: Sandbox): void {
    this.#byId.delete(sandbox.id);
    if (this.#byName.get(sandbox.name) === sandbox) this.#byName.delete(sandbox.name);
  }

  get(id: string): Sandbox | undefined {
    return this.#byId.get(id);
  }

  named(name: string): Sandbox | undefined {
    return this.#byName.get(name);
  }

  list(): Sandbox[] {
    return this.#byId.list();
  }

  /** The pod whose id starts so; NotFound with the texts of [D11]. */
  find(prefix: string): Sandbox {
    if (prefix === '') throw new Failure('NotFound', 'PodSandboxId should not be empty', { code: 'EMPTY_ID' });
    const found = this.#byId.find(prefix);
    if ('item' in found) return found.item;
    const why = found.matches === 0 ? 'ID does not exist' : `Multiple IDs found with provided prefix: ${found.first.id}`;
    throw new Failure('NotFound', `PodSandbox with ID starting with ${prefix} not found: ${why}`, {
      code: found.matches === 0 ? 'NO_SUCH_ID' : 'AMBIGUOUS_ID',
    });
  }

  /** As `find`, undefined where nothing matches [D92, D105]; an empty or ambiguous id still fails. */
  findIfAny(prefix: string): Sandbox | undefined {
    try {
      return this.find(prefix);
    } catch (error) {
      if (error instanceof Failure && error.code === 'NO_SUCH_ID') return undefined;
      throw error;
    }
  }
}

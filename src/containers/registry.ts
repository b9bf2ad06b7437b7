import { Failure } from '../errors/index.ts';
import type { Container } from './container.ts';
import { IdIndex } from './index-by-id.ts';

/** All containers that have been created, by id and by name. */
export class ContainerRegistry {
  readonly #byId = new IdIndex<Container>();
  readonly #byName = new Map<string, Container>();
  readonly #isPod: (id: string) => boolean;
  /** Pause containers: their exits count, but no container RPC finds them [D12, D165]. */
  readonly #infra = new Map<string, Container>();

  /** `isPod`: whether an id is a pod's, and so no container's. */
  constructor(isPod: (id: string) => boolean) {
    this.#isPod = isPod;
  }

  add(container: Container): void {
    this.#byId.add(container);
    this.#byName.set(container.facts.name, container);
  }

  addInfra(container: Container): void {
    this.#infra.set(container.id, container);
  }

  deleteInfra(container: Container): void {
    this.#infra.delete(container.id);
  }

  /** Whatever conmon may report the exit of: containers and pause containers. */
  monitored(id: string): Container | undefined {
    return this.#byId.get(id) ?? this.#infra.get(id);
  }

  delete(container: Container): void {
    this.#byId.delete(container.id);
    if (this.#byName.get(container.facts.name) === container) this.#byName.delete(container.facts.name);
  }

  get(id: string): Container | undefined {
    return this.#byId.get(id);
  }

  named(name: string): Container | undefined {
    return this.#byName.get(name);
  }

  list(): Container[] {
    return this.#byId.list();
  }

  /** The container whose id starts so; NotFound with the texts of [D9, D10], for a pod's id that of [D12]. */
  find(prefix: string): Container {
    if (prefix === '') throw new Failure('NotFound', 'container ID should not be empty', { code: 'EMPTY_ID' });
    const found = this.#byId.find(prefix);
    if ('item' in found) return found.item;
    if (found.matches === 0 && this.#isPod(prefix)) {
      throw new Failure('NotFound', `specified container not found: ${prefix}`, {
        code: 'POD_ID',
        advice: 'This is the id of a pod: use the calls for pods.',
      });
    }
    const why = found.matches === 0 ? 'ID does not exist' : `Multiple IDs found with provided prefix: ${found.first.id}`;
    throw new Failure('NotFound', `container with ID starting with ${prefix} not found: ${why}`, {
      code: found.matches === 0 ? 'NO_SUCH_ID' : 'AMBIGUOUS_ID',
    });
  }

  /** As `find`, undefined where nothing matches; an ambiguous or empty id, or a pod's, still fails [D136, D151]. */
  findIfAny(prefix: string): Container | undefined {
    try {
      return this.find(prefix);
    } catch (error) {
      if (error instanceof Failure && error.code === 'NO_SUCH_ID') return undefined;
      throw error;
    }
  }
}

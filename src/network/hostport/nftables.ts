import { Failure, wrap } from '../../errors/index.ts';
import type { Logger } from '../../log/index.ts';
import { exitFailure, run, runOk } from '../../process/index.ts';
import { step } from '../../steps/index.ts';
import { Mutex } from '../../sync/index.ts';
import { type HostPorts, type IpFamily, shortHash } from './mappings.ts';
import { type Element, TABLE, addScript, deleteScript, elementsOf, ensureScript, parseElements } from './nft.ts';

const LIMIT_MS = 30_000;

/**
 * Host ports in CRI-O's nftables table, one transaction a pod. The static part (table, maps, chains) is made once in
 * this process and again when it turns out to be gone; its refill costs the kernel a grace period of 15 ms, an
 * element 5 ms. What this process added it deletes by key; the rest it finds by comment [H71].
 */
export class NftablesHostPorts {
  readonly #env: Readonly<Record<string, string>>;
  readonly #log: Logger;
  readonly #ensured = new Map<IpFamily, Promise<void>>();
  readonly #added = new Map<string, readonly Element[]>();
  readonly #serial = new Mutex();

  constructor(env: Readonly<Record<string, string>>, log: Logger) {
    this.#env = env;
    this.#log = log;
  }

  /** Fails with knftables' reasons when nft is not there or too old [H62]. */
  static async version(env: Readonly<Record<string, string>>): Promise<void> {
    const said = (await tried(['nft', '--version'], env)).stdout.toString('utf8').trim();
    if (/^nftables v(0\.|1\.0\.0 )/.test(said))
      throw new Failure('FailedPrecondition', `nft version must be v1.0.1 or later (got ${said})`);
  }

  /** Whether nft works for a family; fails with knftables' reasons [H62]. */
  static async probe(family: IpFamily, env: Readonly<Record<string, string>>): Promise<void> {
    await tried(['nft', '--check', '-f', '-'], env, `add table ${family === 4 ? 'ip' : 'ip6'} ${TABLE}\n`);
  }

  /** Makes the static part ahead of time, while something else is waited for. Never fails: `add` would. */
  async prepare(families: readonly IpFamily[]): Promise<void> {
    await Promise.allSettled(families.map((family) => this.#ensure(family)));
  }

  /** Adds a pod's elements, all families in one transaction; the same again is success. A taken port fails [H72]. */
  async add(ports: readonly HostPorts[]): Promise<void> {
    if (ports.length > 0) await step('open host ports', () => this.#open(ports));
  }

  async #open(ports: readonly HostPorts[]): Promise<void> {
    const elements = ports.flatMap(elementsOf);
    const [first] = ports;
    if (first === undefined) return;
    try {
      await Promise.all(ports.map(({ family }) => this.#ensure(family)));
      const quick = await this.#nft(addScript(elements));
      if (quick.code !== 0) await this.#addToWhatIsThere(ports, elements);
      this.#added.set(first.sandboxId, elements);
    } catch (error) {
      throw wrap('failed to ensure nftables chains', error);
    }
  }

  /** Removes every element with the pod's comment, nothing else; none is success. */
  async remove(sandboxId: string, families: readonly IpFamily[]): Promise<void> {
    await step('close host ports', () => this.#close(sandboxId, families));
  }

  async #close(sandboxId: string, families: readonly IpFamily[]): Promise<void> {
    const known = this.#added.get(sandboxId);
    if (known !== undefined) {
      this.#added.delete(sandboxId);
      if ((await this.#nft(deleteScript(known))).code === 0) return;
      this.#log.debug(`Host ports of ${sandboxId} are not as they were made; looking for what is left`);
    }
    await this.removeAll(new Set([sandboxId]), families);
  }

  /** The elements of several sandboxes, found by their comments. */
  async removeAll(sandboxIds: ReadonlySet<string>, families: readonly IpFamily[]): Promise<void> {
    const comments = new Set([...sandboxIds].map(shortHash));
    const found = (await Promise.all(families.map((family) => this.#list(family)))).flat().filter(({ comment }) => comments.has(comment));
    if (found.length === 0) return;
    const result = await this.#nft(deleteScript(found));
    if (result.code !== 0) throw wrap('failed to clean up nftables hostport maps', exitFailure(['nft', '-f', '-'], result));
  }

  /** Whether this process made the pod's rules: then no other back end did. */
  made(sandboxId: string): boolean {
    return this.#added.has(sandboxId);
  }

  /** Someone flushed the table (then all of it is made again in the same transaction), or a port is taken. */
  async #addToWhatIsThere(ports: readonly HostPorts[], elements: readonly Element[]): Promise<void> {
    const script = ports.map(({ family }) => ensureScript(family)).join('') + addScript(elements);
    const result = await this.#nft(script);
    if (result.code === 0) return;
    const taken = await this.#conflicts(elements);
    const failure = exitFailure(['nft', '-f', '-'], result);
    if (taken.length === 0) throw failure;
    throw new Failure('Unknown', `${taken.join(', ')}: ${failure.message}`, {
      code: 'HOST_PORT_TAKEN',
      cause: failure,
      advice: 'Give one of the pods another host port, or remove the pod that holds it.',
    });
  }

  async #conflicts(elements: readonly Element[]): Promise<readonly string[]> {
    const there: readonly Element[] = (
      await Promise.all([...new Set(elements.map((e) => e.family))].map((family) => this.#list(family).catch(() => [])))
    ).flat();
    const seen = new Map(there.map((element) => [identity(element), element]));
    const taken: string[] = [];
    for (const element of elements) {
      const holder = seen.get(identity(element));
      if (holder !== undefined && holder.value !== element.value)
        taken.push(`host port ${spoken(element)} is already mapped to ${spokenValue(holder)}`);
      else seen.set(identity(element), element); // The pod itself may ask for one port twice.
    }
    return taken;
  }

  #ensure(family: IpFamily): Promise<void> {
    const known = this.#ensured.get(family);
    if (known !== undefined) return known;
    const made = step('host port table', () => this.#nft(ensureScript(family))).then((result) => {
      if (result.code !== 0) throw exitFailure(['nft', '-f', '-'], result);
    });
    this.#ensured.set(family, made);
    made.catch(() => this.#ensured.delete(family));
    return made;
  }

  async #list(family: IpFamily): Promise<readonly Element[]> {
    const argv = ['nft', '-j', 'list', 'table', family === 4 ? 'ip' : 'ip6', TABLE] as const;
    const result = await run(argv, { env: this.#env, timeoutMs: LIMIT_MS });
    if (result.code === 0) return parseElements(result.stdout.toString('utf8'), family);
    // nft exits with 1 for everything: only a second look tells "no such table" from a failure.
    const tables = await runOk(['nft', '-j', 'list', 'tables', argv[4]], { env: this.#env, timeoutMs: LIMIT_MS });
    if (!tables.stdout.includes(`"${TABLE}"`)) return [];
    throw wrap('could not list existing hostports', exitFailure(argv, result));
  }

  /** One at a time: the kernel commits one transaction at a time, and nft starts over when it was overtaken. */
  async #nft(script: string): ReturnType<typeof run> {
    return await this.#serial.run(() => run(['nft', '-f', '-'], { env: this.#env, timeoutMs: LIMIT_MS, stdin: script }));
  }
}

/** The result of a run that succeeded; fails with knftables' words. */
async function tried(argv: readonly [string, ...string[]], env: Readonly<Record<string, string>>, stdin?: string): ReturnType<typeof run> {
  const result = await run(argv, { env, timeoutMs: LIMIT_MS, ...(stdin === undefined ? {} : { stdin }) }).catch((error: unknown) => {
    throw wrap('could not find nftables binary', error);
  });
  if (result.code !== 0) throw wrap('could not run nftables command', exitFailure(argv, result));
  return result;
}

function identity({ family, set, key }: Element): string {
  return `${family} ${set} ${key}`;
}

function spoken({ key }: Element): string {
  return key.split(' . ').toReversed().join('/');
}

function spokenValue({ value }: Element): string {
  return (value ?? '').split(' . ').join(':');
}

import { Failure, wrap } from '../../errors/index.ts';
import { exitFailure, run } from '../../process/index.ts';
import { Mutex } from '../../sync/index.ts';
import type { PortMapping } from '../pod.ts';
import type { HostPorts, IpFamily } from './mappings.ts';
import { type SavedRules, addRules, parseSaved, removeRules } from './rules.ts';

const LIMIT_MS = 30_000;
/** Others hold the xtables lock too: wait for it up to 5 s, looking every 100 ms [H76]. */
const WAIT = ['-w', '5', '-W', '100000'] as const;

/** Host ports by iptables, for hosts without a usable nft, and to remove what such a daemon left [H64, H73–H77]. */
export class IptablesHostPorts {
  readonly #env: Readonly<Record<string, string>>;
  readonly #serial = new Mutex();

  constructor(env: Readonly<Record<string, string>>) {
    this.#env = env;
  }

  static async probe(family: IpFamily, env: Readonly<Record<string, string>>): Promise<void> {
    const argv = [program(family), ...WAIT, '-t', 'nat', '-S', 'POSTROUTING'] as const;
    const usable = await run(argv, { env, timeoutMs: LIMIT_MS }).then(
      (result) => result.code === 0,
      () => false,
    );
    if (!usable) throw new Failure('FailedPrecondition', 'iptables not available');
  }

  async add(ports: HostPorts): Promise<void> {
    await this.#serial.run(async () => {
      await this.#restore(ports.family, addRules(await this.#save(ports.family), ports));
    });
  }

  async remove(sandboxId: string, family: IpFamily, mappings: readonly PortMapping[]): Promise<void> {
    await this.#serial.run(async () => {
      const rules = removeRules(await this.#save(family), sandboxId, mappings);
      if (rules !== undefined) await this.#restore(family, rules);
    });
  }

  async #save(family: IpFamily): Promise<SavedRules> {
    const argv = [`${program(family)}-save`, '-t', 'nat'] as const;
    const result = await run(argv, { env: this.#env, timeoutMs: LIMIT_MS });
    if (result.code !== 0) throw wrap('failed to execute iptables-save', exitFailure(argv, result));
    return parseSaved(result.stdout.toString('utf8'));
  }

  async #restore(family: IpFamily, rules: string): Promise<void> {
    const argv = [`${program(family)}-restore`, ...WAIT, '--noflush', '--counters'] as const;
    const result = await run(argv, { env: this.#env, timeoutMs: LIMIT_MS, stdin: rules });
    if (result.code !== 0) throw wrap('failed to execute iptables-restore', exitFailure(argv, result));
  }
}

function program(family: IpFamily): 'iptables' | 'ip6tables' {
  return family === 4 ? 'iptables' : 'ip6tables';
}

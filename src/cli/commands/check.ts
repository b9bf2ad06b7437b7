import { Failure, textOf } from '../../errors/index.ts';
import { type Finding, type Store, countOf, describe, removeStorage } from '../../storage/index.ts';
import { defineCommand, usage } from '../arguments.ts';
import { EXIT } from '../command.ts';
import { refuseBesideDaemon, storeOf } from '../store.ts';

export const check = defineCommand({
  words: '',
  count: [0, 0],
  options: {
    age: {
      type: 'string',
      short: 'a',
      value: 'DURATION',
      help: 'Layers that nobody uses are an error from this age on; "" for never. Default 24h.',
    },
    force: { type: 'boolean', short: 'f', help: 'With --repair, remove damaged containers too; with --wipe, whatever runs.' },
    repair: { type: 'boolean', short: 'r', help: 'Remove damaged images and layers; sound ones stay.' },
    quick: { type: 'boolean', short: 'q', help: 'Do not compare every entry of every layer with its archive.' },
    wipe: { type: 'boolean', short: 'w', help: 'With --repair, remove the whole storage directory if it cannot be repaired.' },
  },
  details: `Reads the store that files, flags and environment name, while the daemon may be running: digests, mountability, contents, data of
layers, images and containers. Ends with 1 if something is damaged, and names it.

  crio check
  crio check --repair`,
  async run({ values }, context) {
    const say = (level: string, text: string) => context.terminal.err.line(`level=${level} msg=${JSON.stringify(text)}`);
    const maxOrphanAgeS = ageOf(values.age ?? '24h');
    const { config, root, open } = storeOf(context);
    if (values.wipe && values.repair) await refuseBesideDaemon(config.api.listen);
    const store = await open();
    try {
      say('info', `Checking storage directory ${root} for errors`);
      const findings = await store.health.check({ digests: true, contents: !values.quick, maxOrphanAgeS }).catch((error: unknown) => {
        throw new Failure('Unknown', `unable to check storage: ${textOf(error)}`, { cause: error });
      });
      if (findings.length === 0) return EXIT.ok;
      say('warning', `Errors found while checking storage directory ${root} for errors`);
      for (const finding of findings) context.terminal.out.line(describe(finding));
      if (!values.repair)
        throw new Failure('FailedPrecondition', summary(findings), { advice: 'crio check --repair removes what is damaged.' });
      return await repair(store, root, findings, values, say);
    } finally {
      await store.close();
    }
  },
});

interface RepairValues {
  readonly force: boolean;
  readonly wipe: boolean;
}

async function repair(
  store: Store,
  root: string,
  findings: readonly Finding[],
  { force, wipe }: RepairValues,
  say: (level: string, text: string) => void,
): Promise<number> {
  say('warning', `Attempting to repair storage directory ${root}`);
  if (force) say('warning', 'The `force` option has been set, repair will attempt to remove damaged containers');
  const { remaining } = await store.health.repair(findings, { removeContainers: force });
  const left = remaining.filter(({ kind }) => kind !== 'container');
  if (left.length > 0 && wipe) {
    say('warning', `Wiping storage directory ${root}`);
    if (force) say('warning', 'The `force` option has been set, storage directory will be forcefully removed');
    await removeStorage(root, force);
    return EXIT.ok;
  }
  const first = left[0];
  if (first !== undefined)
    throw new Failure('FailedPrecondition', describe(first), { advice: 'A container uses it: remove that first, or give --force.' });
  const containers = countOf(remaining, 'container');
  if (containers > 0 && !force)
    throw new Failure('FailedPrecondition', `0 read-only layer errors, 0 read-only image errors, ${containers} container errors`, {
      advice: 'crio check --repair --force removes damaged containers, too.',
    });
  return EXIT.ok;
}

/** The read-only ones are those of additional image stores. */
function summary(findings: readonly Finding[]): string {
  const count = (kind: Finding['kind']) => countOf(findings, kind);
  return `${count('layer')} layer errors, 0 read-only layer errors, ${count('image')} image errors, 0 read-only image errors, ${count('container')} container errors`;
}

/** Seconds of a number or a Go duration, its sign dropped; undefined for "" [A206]. */
function ageOf(text: string): number | undefined {
  if (text === '') return undefined;
  const unsigned = text.replace(/^[+-]/, '');
  if (/^[0-9]{1,12}$/.test(unsigned)) return Number(unsigned);
  const units: Readonly<Record<string, number>> = { h: 3600, m: 60, s: 1, ms: 1e-3, us: 1e-6, µs: 1e-6, ns: 1e-9 };
  const parts = [...unsigned.matchAll(/([0-9]+(?:\.[0-9]*)?|\.[0-9]+)(h|ms|m|us|µs|ns|s)/g)];
  if (parts.length === 0 || parts.map(([part]) => part).join('') !== unsigned)
    throw usage(`unable to parse age duration: time: invalid duration ${JSON.stringify(text)}`);
  return parts.reduce((sum, [, number, unit = 's']) => sum + Number(number) * (units[unit] ?? 1), 0);
}

import { usage } from '../arguments.ts';

export const listOptions = {
  quiet: { type: 'boolean', short: 'q', help: 'Print only full ids.' },
  'no-trunc': { type: 'boolean', help: 'Do not shorten ids.' },
} as const;

export const labelOption = {
  label: { type: 'string', short: 'l', multiple: true, value: 'KEY=VALUE', help: 'Only what has this label; may be repeated.' },
} as const;

/** The selector that `--label` spells; usage Failure where the equals sign is missing. */
export function labelSelector(labels: readonly string[]): ReadonlyMap<string, string> {
  return new Map(
    labels.map((label): [string, string] => {
      const equals = label.indexOf('=');
      if (equals <= 0) throw usage(`--label takes KEY=VALUE, not "${label}"`);
      return [label.slice(0, equals), label.slice(equals + 1)];
    }),
  );
}

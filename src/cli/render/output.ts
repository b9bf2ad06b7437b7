/** `-o table|json|yaml`: the same option for every command that answers with data. */
import type { Json } from '../../wire/index.ts';
import { Failure } from '../../errors/index.ts';
import type { Output } from './terminal.ts';
import { escapeControls, toYaml } from './yaml.ts';

export type Format = 'table' | 'json' | 'yaml';

export const outputOption = {
  output: { type: 'string', short: 'o', value: 'FORMAT', help: 'table (for people), json or yaml (for programs).' },
} as const;

export function formatOf(value: string | undefined, initial: Format = 'table'): Format {
  if (value === undefined) return initial;
  if (value === 'table' || value === 'json' || value === 'yaml') return value;
  throw new Failure('InvalidArgument', `-o takes table, json or yaml, not "${value}"`, { code: 'usage' });
}

export function writeData(out: Output, format: 'json' | 'yaml', data: Json): void {
  out.write(format === 'json' ? `${escapeControls(JSON.stringify(data, undefined, 2))}\n` : toYaml(data));
}

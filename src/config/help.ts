/** What `crio --help` says of the flags. */
import { FLAGS } from './flags.ts';

export interface FlagHelp {
  /** The heading that the flag stands under: a table of the file, or the command line. */
  readonly group: string;
  readonly name: string;
  readonly alias: string | undefined;
  /** `bool`, `string`, …: booleans take no separate word. */
  readonly type: string;
  readonly doc: string;
  readonly defaultText: string;
  readonly env: readonly string[];
  /** The key of crio.conf, if a file may set it. */
  readonly key: string | undefined;
  readonly deprecated: boolean;
  readonly honoured: boolean;
}

/** All flags that are not hidden, sorted by name inside their groups; groups in the order of the file [A174]. */
export function listFlags(): readonly FlagHelp[] {
  const flags = FLAGS.filter(({ row }) => row.hidden !== true).map(({ key, row, name }): FlagHelp => {
    const inFile = key.includes('.');
    return {
      group: inFile ? `[${key.slice(0, key.lastIndexOf('.'))}]` : 'Command line only',
      name,
      alias: row.alias,
      type: row.codec.flagType,
      doc: row.doc,
      defaultText: row.codec.toText(row.initial),
      env: row.env ?? [],
      key: inFile ? key : undefined,
      deprecated: row.deprecated !== undefined,
      honoured: row.honoured,
    };
  });
  return GROUPS.flatMap((group) => flags.filter((flag) => flag.group === group));
}

const GROUPS = [
  'Command line only',
  '[crio]',
  '[crio.api]',
  '[crio.runtime]',
  '[crio.checkpoint_restore]',
  '[crio.image]',
  '[crio.network]',
  '[crio.metrics]',
  '[crio.tracing]',
  '[crio.nri]',
  '[crio.nri.default_validator]',
  '[crio.stats]',
];

/** The text block of all flags, grouped; `width` is that of the terminal in characters. */
export function flagHelp(width = 100): string {
  const lines: string[] = [];
  let group = '';
  for (const flag of listFlags()) {
    if (flag.group !== group) lines.push(...(group === '' ? [] : ['']), `${flag.group}:`);
    group = flag.group;
    const value = flag.type === 'bool' ? '' : ` ${flag.type === 'string slice' ? 'list' : flag.type}`;
    lines.push(`  --${flag.name}${flag.alias === undefined ? '' : `, ${flag.alias.length > 1 ? '--' : '-'}${flag.alias}`}${value}`);
    lines.push(...wrapped(describe(flag), width - 8).map((line) => `        ${line}`));
  }
  return `${lines.join('\n')}\n`;
}

function describe(flag: FlagHelp): string {
  const state = flag.deprecated ? ' Deprecated.' : flag.honoured ? '' : ' Accepted, without effect so far.';
  const initial = flag.defaultText === '' ? '' : ` (default: ${flag.defaultText})`;
  const variables = flag.env.length === 0 ? '' : ` [$${flag.env.join(', $')}]`;
  return `${flag.doc}${state}${initial}${variables}`;
}

function wrapped(text: string, width: number): string[] {
  const lines: string[] = [];
  let line = '';
  for (const word of text.split(' ')) {
    if (line !== '' && line.length + 1 + word.length > width) {
      lines.push(line);
      line = word;
    } else line = line === '' ? word : `${line} ${word}`;
  }
  return [...lines, line];
}

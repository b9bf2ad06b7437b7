/**
 * The daemon's command line and environment, derived from the schema [A2–A12, A29–A168].
 * Global flags stand before the subcommand; what follows the first word that is no flag is left to it.
 */
import { Failure } from '../errors/index.ts';
import { nearest } from './nearest.ts';
import { type KeyedRow, ROWS, commandLineTable, rowsOf } from './schema/index.ts';

export type Environment = Readonly<Record<string, string | undefined>>;

/** A value that a flag or a variable sets. */
export interface GivenFlag {
  readonly value: unknown;
  /** `--log-level` or `CONTAINER_LOG_LEVEL`. */
  readonly source: string;
  readonly honoured: boolean;
}

export interface GlobalFlags {
  /** By the key that they set: `crio.runtime.log_level`, or `config` for flags that no file knows. */
  readonly given: ReadonlyMap<string, GivenFlag>;
  /** Flags of the command line by name, lists joined by commas: `FLAG: --name="value"` of the start log [A25]. */
  readonly commandLine: readonly { readonly name: string; readonly text: string }[];
  /** The subcommand and its arguments. */
  readonly rest: readonly string[];
  readonly help: boolean;
  readonly version: boolean;
}

/** Everything that has a flag, sorted by its name. */
export const FLAGS: readonly (KeyedRow & { readonly name: string })[] = [...ROWS, ...rowsOf(commandLineTable)]
  .flatMap(({ key, row }) => (row.flag === undefined ? [] : [{ key, row, name: row.flag }]))
  .sort((a, b) => (a.name < b.name ? -1 : 1));

const BY_NAME: ReadonlyMap<string, (typeof FLAGS)[number]> = new Map(
  FLAGS.flatMap((flag) => [flag.name, ...(flag.row.alias === undefined ? [] : [flag.row.alias])].map((name) => [name, flag])),
);

/** Flags win over variables. Failure (InvalidArgument, code `usage`) for what the command line or a variable gets wrong. */
export function parseGlobalFlags(args: readonly string[], env: Environment): GlobalFlags {
  const given = new Map<string, GivenFlag>();
  for (const { key, row, name } of FLAGS) {
    const variable = row.env?.find((candidate) => env[candidate] !== undefined);
    if (variable === undefined) continue;
    const text = env[variable] ?? '';
    const parsed = row.codec.fromEnvironment(text);
    if (parsed === undefined) continue;
    if (!parsed.ok) {
      throw usage(
        `could not parse "${text}" as ${row.codec.flagType} value from environment variable "${variable}" for flag ${name}: ${parsed.problem}`,
        `Set ${variable} to ${row.codec.expects.replace(/,? (?:in|without) quotes$/, '')}, or unset it.`,
      );
    }
    given.set(key, { value: parsed.value, source: variable, honoured: row.honoured });
  }
  const { flags, ...line } = parseArguments(args);
  for (const [key, flag] of flags) given.set(key, flag);
  return { given, ...line };
}

function parseArguments(args: readonly string[]): Omit<GlobalFlags, 'given'> & { readonly flags: ReadonlyMap<string, GivenFlag> } {
  const flags = new Map<string, GivenFlag>();
  let help = false;
  let version = false;
  let next = 0;
  while (next < args.length) {
    const argument = args[next] ?? '';
    if (argument.length < 2 || !argument.startsWith('-')) break;
    next++;
    if (argument === '--') break;
    const { name, text: attached } = splitFlag(argument);
    if (['h', 'help', 'v', 'version'].includes(name)) {
      const on = attached === undefined || readBoolean(name, attached);
      if (name.startsWith('h')) help = on;
      else version = on;
      continue;
    }
    const flag = BY_NAME.get(name);
    if (flag === undefined) throw unknownFlag(name);
    const text = attached ?? (flag.row.codec.flagType === 'bool' ? 'true' : args[next++]);
    if (text === undefined) throw usage(`flag needs an argument: -${name}`, `Give ${flag.row.codec.expects} after --${flag.name}.`);
    flags.set(flag.key, { value: valueOf(flag, name, text, flags.get(flag.key)), source: `--${flag.name}`, honoured: flag.row.honoured });
  }
  const commandLine = FLAGS.flatMap(({ key, row, name }) => {
    const flag = flags.get(key);
    return flag === undefined ? [] : [{ name, text: row.codec.toText(flag.value) }];
  });
  return { flags, commandLine, rest: args.slice(next), help, version };
}

/** `-x`, `--x`, `-x=v`, `--x=v` [A3]. */
function splitFlag(argument: string): { name: string; text: string | undefined } {
  const body = argument.startsWith('--') ? argument.slice(2) : argument.slice(1);
  if (body.startsWith('-') || body.startsWith('='))
    throw usage(`bad flag syntax: ${argument}`, 'Flags are written --name or --name=value.');
  const equals = body.indexOf('=');
  return equals < 0 ? { name: body, text: undefined } : { name: body.slice(0, equals), text: body.slice(equals + 1) };
}

/** Lists grow with each use of the flag [A9]; everything else is replaced. */
function valueOf(flag: (typeof FLAGS)[number], name: string, text: string, earlier: GivenFlag | undefined): unknown {
  const { codec } = flag.row;
  const parsed = codec.fromFlag(text);
  if (!parsed.ok) {
    const what = codec.flagType === 'bool' ? `invalid boolean value "${text}" for -${name}` : `invalid value "${text}" for flag -${name}`;
    throw usage(`${what}: ${parsed.problem}`, `Give --${flag.name} ${codec.expects.replace(/,? (?:in|without) quotes$/, '')}.`);
  }
  const before: unknown = earlier?.value;
  if (Array.isArray(before) && Array.isArray(parsed.value)) return [...(before as unknown[]), ...(parsed.value as unknown[])];
  return parsed.value;
}

function readBoolean(name: string, text: string): boolean {
  if (['1', 't', 'T', 'TRUE', 'true', 'True'].includes(text)) return true;
  if (['0', 'f', 'F', 'FALSE', 'false', 'False'].includes(text)) return false;
  throw usage(`invalid boolean value "${text}" for -${name}: parse error`, `Write --${name} alone.`);
}

function unknownFlag(name: string): Failure {
  const near = nearest(
    name,
    FLAGS.filter((flag) => flag.row.hidden !== true).map((flag) => flag.name),
  );
  return usage(
    `flag provided but not defined: -${name}`,
    near === undefined ? 'crio --help lists all flags.' : `Did you mean --${near}? crio --help lists all flags.`,
  );
}

function usage(message: string, advice: string): Failure {
  return new Failure('InvalidArgument', message, { advice, code: 'usage' });
}

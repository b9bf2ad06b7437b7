/** Arguments of a subcommand: `util.parseArgs` splits them, this checks them and says in one sentence what is wrong. */
import { parseArgs } from 'node:util';
import { Failure } from '../errors/index.ts';
import type { AnyCommand, Call, Command, Options, Values } from './command.ts';

const HELP = { type: 'boolean', short: 'h', help: 'Show this help.' } as const;

/** Makes a command usable without knowing its options' types. */
export function defineCommand<O extends Options>(command: Command<O>): AnyCommand {
  return {
    ...command,
    options: { ...command.options, help: HELP },
    async execute(args, context) {
      const call = await parseArguments(command, args);
      return call === 'help' ? 'help' : await command.run(call, context);
    },
  };
}

/** A mistake of whoever typed the command. */
export function usage(message: string, advice?: string): Failure {
  return new Failure('InvalidArgument', message, { code: 'usage', ...(advice === undefined ? {} : { advice }) });
}

/** Splits and checks; Failure with code `usage` for what does not fit the command's table. */
export async function parseArguments<O extends Options>(command: Command<O>, args: readonly string[]): Promise<Call<O> | 'help'> {
  const options: Options = { ...command.options, help: HELP };
  const { known, verbatim } = splitVerbatim(options, args, command.verbatimAfter);
  const { tokens } = split(options, known);
  const given = new Map<string, (string | true)[]>();
  const words: string[] = [];
  for (const token of tokens) {
    if (token.kind === 'positional') words.push(token.value);
    if (token.kind !== 'option') continue;
    const option = Object.hasOwn(options, token.name) ? options[token.name] : undefined;
    if (option === undefined) throw await unknownOption(token.rawName, options);
    if (option.type === 'boolean' && token.value !== undefined) throw usage(`${token.rawName} takes no value`);
    if (option.type === 'string' && token.value === undefined)
      throw usage(`${token.rawName} needs a value: ${token.rawName} ${option.value ?? 'VALUE'}`);
    given.set(token.name, [...(given.get(token.name) ?? []), token.value ?? true]);
  }
  if (given.has('help')) return 'help';
  words.push(...verbatim);
  checkCount(command, words);
  return { values: valuesOf(command.options, given), words };
}

function split(options: Options, args: readonly string[]) {
  return parseArgs({ args: [...args], options: { ...options }, strict: false, allowPositionals: true, tokens: true });
}

function splitVerbatim(
  options: Options,
  args: readonly string[],
  after: number | undefined,
): { known: readonly string[]; verbatim: readonly string[] } {
  if (after === undefined) return { known: args, verbatim: [] };
  const last = split(options, args).tokens.filter((token) => token.kind === 'positional')[after - 1];
  if (last === undefined) return { known: args, verbatim: [] };
  const verbatim = args.slice(last.index + 1);
  return { known: args.slice(0, last.index + 1), verbatim: verbatim[0] === '--' ? verbatim.slice(1) : verbatim };
}

function checkCount(command: Pick<AnyCommand, 'count' | 'words'>, words: readonly string[]): void {
  const [least, most] = command.count;
  if (words.length < least)
    throw usage(words.length === 0 && least === 1 ? `${command.words} is missing` : `too few arguments: ${command.words}`);
  if (words.length > most)
    throw usage(most === 0 ? `takes no arguments: ${words.join(' ')}` : `too many arguments: ${words.slice(most).join(' ')}`);
}

function valuesOf<O extends Options>(options: O, given: ReadonlyMap<string, readonly (string | true)[]>): Values<O> {
  const values = Object.entries(options).map(([name, option]) => {
    const list = given.get(name) ?? [];
    if (option.type === 'boolean') return [name, list.length > 0];
    return [name, option.multiple === true ? list : list.at(-1)];
  });
  // The table that the type is computed from is the one that the values were just made by.
  return Object.fromEntries(values) as Values<O>;
}

async function unknownOption(rawName: string, options: Options): Promise<Failure> {
  const { nearest } = await import('../config/index.ts');
  const near = nearest(rawName.replace(/^-+/, ''), Object.keys(options));
  return usage(`unknown option ${rawName}`, near === undefined ? undefined : `Did you mean --${near}?`);
}

/** A whole number that is not negative, as options such as --tail take it. */
export function wholeNumber(option: string, text: string): number {
  const value = /^\d{1,9}$/.test(text) ? Number(text) : undefined;
  if (value === undefined) throw usage(`${option} takes a whole number, not "${text}"`);
  return value;
}

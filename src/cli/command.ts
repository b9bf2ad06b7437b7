/** What a subcommand is: options as a table, from which parsing, checking and help are derived, and a function. */
import type { Terminal } from './render/index.ts';

export interface Option {
  readonly type: 'boolean' | 'string';
  readonly short?: string;
  readonly multiple?: boolean;
  /** How the help calls the value of a string option: `SECONDS`. */
  readonly value?: string;
  readonly help: string;
}
export type Options = Readonly<Record<string, Option>>;

/** A boolean is false, a string undefined, a list empty where the option was not given. */
export type Values<O extends Options> = {
  readonly [K in keyof O]: O[K]['type'] extends 'boolean'
    ? boolean
    : O[K]['multiple'] extends true
      ? readonly string[]
      : string | undefined;
};

/** What others may know of a command without loading it. */
export interface CommandSummary {
  readonly name: string;
  readonly alias?: string;
  readonly summary: string;
}

/** What a command may use of the world around it. */
export interface Context {
  readonly terminal: Terminal;
  readonly env: Readonly<Record<string, string | undefined>>;
  /** All commands but the hidden ones. */
  readonly commands: readonly CommandSummary[];
  /** Flags of the daemon that stood before the subcommand; only `config` looks at them. */
  readonly globalFlags: readonly string[];
  /** Everything that comes on standard input, as text. */
  readonly readInput: () => Promise<string>;
}

export interface Call<O extends Options> {
  readonly values: Values<O>;
  readonly words: readonly string[];
}

export interface Command<O extends Options> {
  /** What follows the options, as the help writes it: `POD[/CONTAINER]...`. */
  readonly words: string;
  /** How many words at least and at most. */
  readonly count: readonly [number, number];
  /** Words after this many are taken as they are, options among them: the command line of `exec`. */
  readonly verbatimAfter?: number;
  readonly options: O;
  /** Paragraphs and examples of the help, below its first line. */
  readonly details?: string;
  /** Answers the exit code, or that the help is to be shown. */
  run(call: Call<O>, context: Context): Promise<number | 'help'>;
}

/** A command of whatever options. */
export interface AnyCommand extends Omit<Command<Options>, 'run'> {
  execute(args: readonly string[], context: Context): Promise<number | 'help'>;
}

/** What the program ends with; `exec` and `run` answer the code of what they ran instead. */
export const EXIT = { ok: 0, failed: 1, usage: 2, noTopic: 3 } as const;

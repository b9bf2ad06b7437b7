import { Failure, textOf } from '../errors/index.ts';
import type { Level } from '../log/index.ts';
import type { Config } from './config.ts';
import type { CommandLine } from './schema/index.ts';

export interface LogSettings {
  readonly level: Level;
  readonly filter: RegExp | undefined;
  readonly format: 'text' | 'json';
  /** undefined: standard error. */
  readonly file: string | undefined;
}

const LEVELS: Readonly<Record<string, Level>> = {
  trace: 'trace',
  debug: 'debug',
  info: 'info',
  warn: 'warning',
  warning: 'warning',
  error: 'error',
  fatal: 'fatal',
  panic: 'panic',
};

/** How the program logs, before anything else is said. Failure (InvalidArgument) with CRI-O's texts [A22–A24, B75, B76]. */
export function logSettings(config: Config, commandLine: CommandLine): LogSettings {
  const { logLevel, logFilter } = config.runtime;
  const name = logLevel.toLowerCase();
  const level = Object.hasOwn(LEVELS, name) ? LEVELS[name] : undefined;
  if (level === undefined) {
    throw new Failure('InvalidArgument', `not a valid logrus Level: "${logLevel}"`, {
      advice: 'Set log_level to trace, debug, info, warn, error, fatal or panic.',
    });
  }
  const format = commandLine.logFormat;
  if (format !== 'text' && format !== 'json') {
    throw new Failure('InvalidArgument', `unknown log-format "${format}"`, { advice: 'Set --log-format to text or json.' });
  }
  return { level, filter: filterOf(logFilter), format, file: commandLine.log === '' ? undefined : commandLine.log };
}

/** Expressions are written for Go: leading flags such as `(?i)` become those of the RegExp. */
function filterOf(expression: string): RegExp | undefined {
  if (expression === '') return undefined;
  const [all = '', flags = ''] = /^\(\?([ims]+)\)/.exec(expression) ?? [];
  try {
    return new RegExp(expression.slice(all.length), `u${[...new Set(flags)].join('')}`);
  } catch (error) {
    throw new Failure('InvalidArgument', `custom log level filter does not compile: error parsing regexp: ${textOf(error)}`, {
      advice: 'Correct log_filter in [crio.runtime].',
      cause: error,
    });
  }
}

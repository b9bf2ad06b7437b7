import type { Config } from '../config/index.ts';
import { Failure, textOf } from '../errors/index.ts';
import { LEVELS, type Level, type Logger, createLogger, stderrSink } from '../log/index.ts';

/** The daemon's logger as `log_level` and `log_filter` ask [C.4]. */
export function buildLogger(config: Config): Logger {
  const sink = stderrSink(levelOf(config.runtime.logLevel));
  try {
    sink.filter = config.runtime.logFilter === '' ? undefined : new RegExp(config.runtime.logFilter);
  } catch (error) {
    throw new Failure('InvalidArgument', `log_filter "${config.runtime.logFilter}" is no regular expression: ${textOf(error)}`, { cause: error });
  }
  return createLogger(sink);
}

function levelOf(name: string): Level {
  const level = name === 'warn' ? 'warning' : name;
  const known = LEVELS.find((candidate) => candidate === level);
  if (known === undefined) throw new Failure('InvalidArgument', `not a valid logrus Level: "${name}"`, { advice: `Choose one of ${LEVELS.join(', ')}.` });
  return known;
}

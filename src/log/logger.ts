import { AsyncLocalStorage } from 'node:async_hooks';

/**
 * Structured log lines in logrus' text form, as CRI-O writes them to stderr [C.4]:
 * `time="2026-01-02 03:04:05.000000000Z" level=info msg="…" key=value`.
 */
export const LEVELS = ['trace', 'debug', 'info', 'warning', 'error', 'fatal', 'panic'] as const;
export type Level = (typeof LEVELS)[number];
export type Fields = Readonly<Record<string, string | number | boolean | undefined>>;

export interface Logger {
  trace(message: string, fields?: Fields): void;
  debug(message: string, fields?: Fields): void;
  info(message: string, fields?: Fields): void;
  warn(message: string, fields?: Fields): void;
  error(message: string, fields?: Fields): void;
  /** A logger that adds these fields to every line. */
  with(fields: Fields): Logger;
  /** Does `work`: whatever it logs until its end, by this logger or by one of the same origin, carries these fields too. */
  within<T>(fields: Fields, work: () => Promise<T>): Promise<T>;
  /** Whether a line of that level would be written: for messages that cost something to build. */
  enabled(level: Level): boolean;
}

export interface LogSink {
  level: Level;
  /** Lines whose `msg` does not match are dropped (`log_filter`). */
  filter: RegExp | undefined;
  write(line: string): void;
}

export function createLogger(sink: LogSink, fields: Fields = {}, work = new AsyncLocalStorage<Fields>()): Logger {
  const enabled = (level: Level) => LEVELS.indexOf(level) >= LEVELS.indexOf(sink.level);
  const emit = (level: Level, message: string, more: Fields | undefined) => {
    if (!enabled(level)) return;
    if (sink.filter !== undefined && !sink.filter.test(message)) return;
    let line = `time="${timestamp()}" level=${level} msg=${quoted(message)}`;
    for (const [key, value] of Object.entries({ ...work.getStore(), ...fields, ...more })) {
      if (value !== undefined) line += ` ${key}=${bare(String(value))}`;
    }
    sink.write(`${line}\n`);
  };
  return {
    trace: (message, more) => emit('trace', message, more),
    debug: (message, more) => emit('debug', message, more),
    info: (message, more) => emit('info', message, more),
    warn: (message, more) => emit('warning', message, more),
    error: (message, more) => emit('error', message, more),
    with: (more) => createLogger(sink, { ...fields, ...more }, work),
    within: async (more, run) => await work.run({ ...work.getStore(), ...more }, run),
    enabled,
  };
}

/** A sink on a file descriptor; writes are synchronous, so that a crash loses nothing. */
export function stderrSink(level: Level): LogSink {
  return { level, filter: undefined, write: (line) => void process.stderr.write(line) };
}

/** For tests and for client commands, which log nothing. */
export const silentLogger: Logger = createLogger({ level: 'panic', filter: undefined, write: () => {} });

function timestamp(): string {
  // 2026-01-02 03:04:05.123000000Z: nanoseconds as CRI-O prints them, of which Date knows three digits.
  const iso = new Date().toISOString();
  return `${iso.slice(0, 10)} ${iso.slice(11, 23)}000000Z`;
}

function quoted(text: string): string {
  return JSON.stringify(text);
}

function bare(text: string): string {
  return /^[A-Za-z0-9\-._/@^+]+$/.test(text) ? text : quoted(text);
}

/**
 * How the value of a key is read from TOML, from a flag and from the environment, and written back.
 * A codec knows nothing about keys: who calls it adds file, line and name to `problem`.
 */
import { formatDuration, millisecondsOf, parseDuration } from './duration.ts';

export type Parsed<T> = { readonly ok: true; readonly value: T } | { readonly ok: false; readonly problem: string };

/** Methods, not function fields: a `Codec<string>` has to pass where a `Codec<unknown>` is listed. */
export interface Codec<T> {
  /** The word for a person, behind "expected": `a string`. */
  readonly expects: string;
  /** The word of help texts and of environment errors (`bool`, `int`, …). */
  readonly flagType: 'string' | 'bool' | 'int' | 'duration' | 'string slice';
  readonly zero: T;
  fromToml(value: unknown): Parsed<T>;
  /** `problem` is the cause as Go's flag package words it [A4–A6]. */
  fromFlag(text: string): Parsed<T>;
  /** undefined where an empty variable counts as not set [A11]; `problem` as Go's parsers word it [A12]. */
  fromEnvironment(text: string): Parsed<T> | undefined;
  /** One TOML value; lists over several lines in the template, on one line elsewhere [A186, B10]. */
  toToml(value: T, layout: 'template' | 'line'): string;
  /** The bare value, for help and log lines; lists joined by commas. */
  toText(value: T): string;
}

const good = <T>(value: T): Parsed<T> => ({ ok: true, value });
const bad = (problem: string): Parsed<never> => ({ ok: false, problem });
const wrongType = (value: unknown, destination: string): Parsed<never> =>
  bad(`incompatible types: TOML value has type ${tomlTypeOf(value)}; destination has type ${destination}`);

/** A parsed TOML value's type as the Go library that CRI-O reads with names it [B8]. */
export function tomlTypeOf(value: unknown): string {
  if (typeof value === 'string') return 'string';
  if (typeof value === 'boolean') return 'bool';
  if (typeof value === 'bigint') return 'int64';
  if (typeof value === 'number') return 'float64';
  if (value instanceof Date) return 'time.Time';
  return Array.isArray(value) ? '[]any' : 'map[string]any';
}

export function isTable(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value) && !(value instanceof Date);
}

export const stringCodec: Codec<string> = {
  expects: 'a string in quotes',
  flagType: 'string',
  zero: '',
  fromToml: (value) => (typeof value === 'string' ? good(value) : wrongType(value, 'string')),
  fromFlag: good,
  fromEnvironment: good,
  toToml: quoted,
  toText: (value) => value,
};

const TRUE = ['1', 't', 'T', 'TRUE', 'true', 'True'];
const FALSE = ['0', 'f', 'F', 'FALSE', 'false', 'False'];

export const boolCodec: Codec<boolean> = {
  expects: 'true or false, without quotes',
  flagType: 'bool',
  zero: false,
  fromToml: (value) => (typeof value === 'boolean' ? good(value) : wrongType(value, 'boolean')),
  fromFlag: (text) => booleanOf(text) ?? bad('parse error'),
  fromEnvironment: (text) => (text === '' ? good(false) : (booleanOf(text) ?? bad(`strconv.ParseBool: parsing "${text}": invalid syntax`))),
  toToml: String,
  toText: String,
};

function booleanOf(text: string): Parsed<boolean> | undefined {
  if (TRUE.includes(text)) return good(true);
  return FALSE.includes(text) ? good(false) : undefined;
}

const GREATEST = 2n ** 63n - 1n;

/**
 * 64-bit integers as numbers. What lies beyond ±(2^53 - 1) is taken as that limit: for sizes, counts, ids and
 * seconds it means "no limit" as well as 2^63 - 1 does, and it survives being written as JSON.
 */
function integerCodec(least: bigint): Codec<number> {
  const inRange = (value: bigint): Parsed<number> | undefined => (value < least || value > GREATEST ? undefined : good(clamp(value)));
  const kind = least < 0n ? 'int64' : 'uint64';
  return {
    expects: least < 0n ? 'a whole number, without quotes' : 'a whole number of 0 or more, without quotes',
    flagType: 'int',
    zero: 0,
    fromToml: (value) =>
      typeof value === 'bigint' ? (inRange(value) ?? bad(`${value} is out of range for ${kind}`)) : wrongType(value, 'integer'),
    fromFlag: (text) => {
      const value = integerOf(text);
      return value === undefined ? bad('parse error') : (inRange(value) ?? bad('value out of range'));
    },
    fromEnvironment: (text) => {
      if (text === '') return undefined;
      const value = integerOf(text);
      const why = value === undefined ? 'invalid syntax' : 'value out of range';
      return (value === undefined ? undefined : inRange(value)) ?? bad(`strconv.ParseInt: parsing "${text}": ${why}`);
    },
    toToml: String,
    toText: String,
  };
}

export const intCodec = integerCodec(-(2n ** 63n));
export const unsignedCodec = integerCodec(0n);

/** Decimal, 0x, 0o, 0b and Go's leading-zero octal; underscores between digits [A5]. */
function integerOf(text: string): bigint | undefined {
  const parts = /^([+-]?)(0[xX]|0[oO]|0[bB]|0(?=[0-9_]))?_?([0-9a-fA-F]+(?:_[0-9a-fA-F]+)*)$/.exec(text);
  if (parts === null) return undefined;
  const [, sign, prefix = '', digits = ''] = parts;
  const base = prefix === '0' ? '0o' : prefix.toLowerCase();
  try {
    const size = BigInt(base + digits.replaceAll('_', ''));
    return sign === '-' ? -size : size;
  } catch {
    return undefined; // a digit that the base does not have
  }
}

function clamp(value: bigint): number {
  const limit = BigInt(Number.MAX_SAFE_INTEGER);
  return Number(value > limit ? limit : value < -limit ? -limit : value);
}

/** Milliseconds; in TOML a Go duration text or an integer of nanoseconds [B9]. */
export const durationCodec: Codec<number> = {
  expects: 'a duration such as "30s" or "1m30s"',
  flagType: 'duration',
  zero: 0,
  fromToml: (value) => {
    if (typeof value === 'bigint') return value > GREATEST ? bad(`${value} is out of range for int64`) : good(millisecondsOf(value));
    if (typeof value !== 'string') return wrongType(value, 'integer');
    const duration = parseDuration(value);
    return duration === undefined ? bad(`invalid duration: ${quoted(value)}`) : good(duration);
  },
  fromFlag: (text) => {
    const duration = parseDuration(text);
    return duration === undefined ? bad('parse error') : good(duration);
  },
  fromEnvironment: (text) => {
    if (text === '') return undefined;
    const duration = parseDuration(text);
    return duration === undefined ? bad(`time: invalid duration ${quoted(text)}`) : good(duration);
  },
  toToml: (value) => quoted(formatDuration(value)),
  toText: formatDuration,
};

export const listCodec: Codec<readonly string[]> = {
  expects: 'a list of strings such as ["a", "b"]',
  flagType: 'string slice',
  zero: [],
  fromToml: (value) => {
    if (!Array.isArray(value)) return wrongType(value, 'slice');
    const items: readonly unknown[] = value;
    const texts = items.filter((item) => typeof item === 'string');
    return texts.length === items.length
      ? good(texts)
      : wrongType(
          items.find((item) => typeof item !== 'string'),
          'string',
        );
  },
  fromFlag: (text) => good(text.split(',').map((item) => item.trim())),
  fromEnvironment: (text) => good(text.split(',').map((item) => item.trim())),
  toToml: (items, layout) => {
    if (layout === 'line') return `[${items.map(quoted).join(', ')}]`;
    return ['[', ...items.map((item) => `\t${quoted(item)},`), ']'].join('\n');
  },
  toText: (items) => items.join(','),
};

/** A table of strings, held as a Map: its names come from the file. */
export const mapCodec: Codec<ReadonlyMap<string, string>> = {
  expects: 'a table of strings such as { "name" = "value" }',
  flagType: 'string',
  zero: new Map(),
  fromToml: (value) => {
    if (!isTable(value)) return wrongType(value, 'map');
    const map = new Map<string, string>();
    for (const [name, text] of Object.entries(value)) {
      if (typeof text !== 'string') return wrongType(text, 'string');
      map.set(name, text);
    }
    return good(map);
  },
  fromFlag: () => bad('parse error'),
  fromEnvironment: () => undefined,
  toToml: (map) => (map.size === 0 ? '{}' : `{ ${[...map].map(([name, text]) => `${quoted(name)} = ${quoted(text)}`).join(', ')} }`),
  toText: (map) => [...map].map(([name, text]) => `${name}=${text}`).join(','),
};

/** A TOML basic string; control characters as \uXXXX, so that every text survives. */
export function quoted(text: string): string {
  // JSON and TOML agree on all escapes but DEL, which TOML wants escaped, and lone surrogates, which it cannot hold.
  return JSON.stringify(text.toWellFormed()).replaceAll('\u007f', '\\u007f');
}

import { Failure } from '../errors/index.ts';

/** A parsed JSON object whose keys are foreign: read it by `field` only. */
export type JsonTable = Readonly<Record<string, unknown>>;

const MAX_DEPTH = 64;

/**
 * Parses a document of a registry: UTF-8 without a BOM, at most 64 levels deep, no key twice in one object
 * (parsers differ in which of both they take). Fails with `<what>: …`.
 */
export function parseForeignJson(bytes: Uint8Array, what: string): JsonTable {
  let text: string;
  try {
    text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch (error) {
    throw invalid(what, 'invalid UTF-8', error);
  }
  checkShape(text, what);
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw invalid(what, 'invalid JSON', error);
  }
  return asTable(value, what);
}

/** An own property, never one of the prototype. */
export function field(table: JsonTable, key: string): unknown {
  return Object.hasOwn(table, key) ? (table[key] ?? undefined) : undefined;
}

export function textField(table: JsonTable, key: string, what: string): string | undefined {
  const value = field(table, key);
  if (value !== undefined && typeof value !== 'string') throw invalid(what, `${key} is no string`);
  return value;
}

export function tableField(table: JsonTable, key: string, what: string): JsonTable | undefined {
  const value = field(table, key);
  return value === undefined ? undefined : asTable(value, `${what}: ${key}`);
}

export function arrayField(table: JsonTable, key: string, what: string): readonly unknown[] | undefined {
  const value = field(table, key);
  if (value !== undefined && !Array.isArray(value)) throw invalid(what, `${key} is no array`);
  return value;
}

export function textsField(table: JsonTable, key: string, what: string): readonly string[] {
  return (arrayField(table, key, what) ?? []).map((entry) => {
    if (typeof entry !== 'string') throw invalid(what, `${key} holds something that is no string`);
    return entry;
  });
}

/** An object of strings, as a Map: no key of it reaches a prototype. */
export function textMapField(table: JsonTable, key: string, what: string): ReadonlyMap<string, string> {
  const found = new Map<string, string>();
  for (const [name, value] of Object.entries(tableField(table, key, what) ?? {})) {
    if (typeof value !== 'string') throw invalid(what, `${key} holds something that is no string`);
    found.set(name, value);
  }
  return found;
}

export function asTable(value: unknown, what: string): JsonTable {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw invalid(what, 'not an object');
  return value as JsonTable;
}

function invalid(what: string, problem: string, cause?: unknown): Failure {
  return new Failure('Unknown', `${what}: ${problem}`, { cause, code: 'INVALID_DOCUMENT' });
}

/** One linear walk over the tokens, before JSON.parse builds anything: depth and keys. Quick, for it may be 4 MiB and the daemon waits. */
function checkShape(text: string, what: string): void {
  const open: (Set<string> | undefined)[] = [];
  let expectKey = false;
  for (let i = 0; i < text.length; i++) {
    const char = text[i];
    if (char === '{' || char === '[') {
      if (open.length === MAX_DEPTH) throw invalid(what, `nested deeper than ${MAX_DEPTH} levels`);
      open.push(char === '{' ? new Set() : undefined);
      expectKey = char === '{';
    } else if (char === '}' || char === ']') {
      open.pop();
      expectKey = false;
    } else if (char === ',') {
      expectKey = open.at(-1) !== undefined;
    } else if (char === '"') {
      const end = endOfString(text, i);
      const keys = open.at(-1);
      if (expectKey && keys !== undefined) {
        const key = keyOf(text.slice(i, end + 1), what);
        if (keys.has(key)) throw invalid(what, `key ${text.slice(i, Math.min(end + 1, i + 64))} occurs twice`);
        keys.add(key);
        expectKey = false;
      }
      i = end;
    }
  }
}

/** Index of the closing quote; the text's end where there is none (JSON.parse then refuses it). */
function endOfString(text: string, start: number): number {
  for (let at = start + 1; ;) {
    const end = text.indexOf('"', at);
    if (end === -1) return text.length;
    let slashes = end;
    while (text[slashes - 1] === '\\') slashes--;
    if ((end - slashes) % 2 === 0) return end;
    at = end + 1;
  }
}

function keyOf(quoted: string, what: string): string {
  if (!quoted.includes('\\') && quoted.length > 1) return quoted.slice(1, -1); // What else may be wrong with it JSON.parse finds.
  try {
    const key: unknown = JSON.parse(quoted);
    if (typeof key === 'string') return key;
  } catch (error) {
    throw invalid(what, 'invalid JSON', error);
  }
  throw invalid(what, 'invalid JSON');
}

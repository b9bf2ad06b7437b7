import { parseExactJson, stringifyExactJson } from '../../files/index.ts';
import type { HexId } from '../../ids/index.ts';
import type { Json } from '../types.ts';
import { asObject, type Fields } from './fields.ts';

interface Entry<R> {
  /** Undefined for an element that is no record of this format: kept as it is, shown to nobody. */
  readonly record: R | undefined;
  /** The element's JSON as it was read, or as it will be written. */
  readonly text: string;
  /** Keys that we do not know or whose values we do not understand, with their JSON. */
  readonly unknown: readonly (readonly [key: string, json: string])[];
}

/**
 * The records of one JSON file, in its order. Each keeps its own JSON text, so that writing the file joins texts,
 * and what nobody changed is written as it was read, byte for byte.
 */
export class RecordList<R extends { readonly id: HexId }> {
  readonly #format: Fields<R>;
  readonly #names: readonly (keyof R & string)[];
  readonly #entries = new Map<string, Entry<R>>();
  /** Set by `set` and `delete`; whoever saves takes it back. */
  changed = false;

  constructor(format: Fields<R>) {
    this.#format = format;
    this.#names = Object.keys(format) as (keyof R & string)[];
  }

  /** Replaces everything by a file's contents; empty text is an empty list. Throws SyntaxError on broken JSON, changing nothing. */
  parse(json: string): void {
    const entries = splitArray(json).map((text) => this.#decode(text));
    this.#entries.clear();
    this.changed = false;
    for (const [index, entry] of entries.entries()) {
      // A second record with the same id is ignored by every tool, but it is not ours to drop.
      const id = entry.record?.id;
      this.#entries.set(id === undefined || this.#entries.has(id) ? `#${index}` : id, entry);
    }
  }

  stringify(): string {
    return `[${[...this.#entries.values()].map((entry) => entry.text).join(',')}]`;
  }

  get(id: HexId): R | undefined {
    return this.#entries.get(id)?.record;
  }

  *values(): Generator<R> {
    for (const [key, { record }] of this.#entries) if (record !== undefined && !key.startsWith('#')) yield record;
  }

  /** Adds or replaces; unknown keys of a replaced record stay. */
  set(record: R): void {
    this.changed = true;
    const unknown = this.#entries.get(record.id)?.unknown ?? [];
    this.#entries.set(record.id, { record: Object.freeze(record), text: this.#encode(record, unknown), unknown });
  }

  delete(id: HexId): void {
    if (this.#entries.delete(id)) this.changed = true;
  }

  /** Elements that are no records of this format. */
  get strangers(): number {
    return [...this.#entries.keys()].filter((key) => key.startsWith('#')).length;
  }

  #decode(text: string): Entry<R> {
    const object = asObject(parseElement(text));
    if (object === undefined) return { record: undefined, text, unknown: [] };
    const rest = new Map(Object.entries(object));
    const record: Partial<R> = {};
    for (const name of this.#names) {
      const field = this.#format[name];
      const value = rest.get(field.key);
      const read = value === undefined ? undefined : field.read(value);
      if (read !== undefined) rest.delete(field.key);
      const result = read ?? field.absent;
      if (result === undefined) return { record: undefined, text, unknown: [] };
      record[name] = result.value;
    }
    const unknown = [...rest].map(([key, value]) => [key, stringifyExactJson(value)] as const);
    return { record: Object.freeze(record as R), text, unknown };
  }

  #encode(record: R, unknown: Entry<R>['unknown']): string {
    const members: string[] = [];
    const written = new Set<string>();
    for (const name of this.#names) {
      const field = this.#format[name];
      const value = field.write(record[name]);
      if (value === undefined) continue;
      written.add(field.key);
      members.push(`"${field.key}":${value}`);
    }
    for (const [key, json] of unknown) if (!written.has(key)) members.push(`${stringifyExactJson(key)}:${json}`);
    return `{${members.join(',')}}`;
  }
}

function parseElement(text: string): Json {
  // Only an integer of 16 digits or more can be too long for a number; keeping it exact costs a slow parse.
  return (/[:[,]\s*-?\d{16}/.test(text) ? parseExactJson(text) : JSON.parse(text)) as Json;
}

/** The texts of the elements of a JSON array. The elements themselves are checked by whoever parses them. */
export function splitArray(json: string): string[] {
  const trimmed = json.trim();
  if (trimmed === '' || trimmed === 'null') return [];
  if (!trimmed.startsWith('[') || !trimmed.endsWith(']')) throw new SyntaxError('not a JSON array');
  const end = trimmed.length - 1;
  const elements: string[] = [];
  let depth = 0;
  let start = 1;
  for (let at = 1; at < end; at++) {
    const char = trimmed[at];
    if (char === '"') at = endOfString(trimmed, at);
    else if (char === '{' || char === '[') depth++;
    else if (char === '}' || char === ']') depth--;
    else if (char === ',' && depth === 0) {
      elements.push(trimmed.slice(start, at).trim());
      start = at + 1;
    }
  }
  const last = trimmed.slice(start, end).trim();
  if (depth !== 0) throw new SyntaxError('brackets of a JSON array do not match');
  return last === '' && elements.length === 0 ? [] : [...elements, last];
}

function endOfString(text: string, open: number): number {
  for (let at = open + 1; ;) {
    const close = text.indexOf('"', at);
    if (close < 0) throw new SyntaxError('a JSON string does not end');
    let backslashes = 0;
    while (text[close - 1 - backslashes] === '\\') backslashes++;
    if (backslashes % 2 === 0) return close;
    at = close + 1;
  }
}

import { stringifyExactJson } from '../../files/index.ts';
import { type Digest, type HexId, isHexId, parseDigest } from '../../ids/index.ts';
import type { IdMapping, Json } from '../types.ts';

/**
 * One key of a record: how its value is read and how Go would write it. A table of these in the order of Go's struct
 * is a record's whole format (docs/reference/cri-o-ondisk.md §1.2–1.4).
 */
export interface Field<T> {
  readonly key: string;
  /** The value of an absent key, or undefined where the key must be present. */
  readonly absent: { readonly value: T } | undefined;
  /** The value, or undefined for one of another form. */
  read(value: Json): { readonly value: T } | undefined;
  /** JSON text, or undefined where Go omits the key. */
  write(value: T): string | undefined;
}

export type Fields<R> = { readonly [K in keyof R]: Field<R[K]> };

const quoted = (text: string): string => stringifyExactJson(text);
const omitEmpty = (texts: readonly string[], open: string, close: string) =>
  texts.length === 0 ? undefined : `${open}${texts.join(',')}${close}`;

/** A 64-hex id that is never omitted; a record without it is none of ours. */
export function requiredId(key: string): Field<HexId> {
  return { key, absent: undefined, read: (value) => (typeof value === 'string' && isHexId(value) ? { value } : undefined), write: quoted };
}

/** An id that may be empty; `omitted` says whether the empty one is written. */
export function optionalId(key: string, omitted = true): Field<HexId | undefined> {
  return {
    key,
    absent: { value: undefined },
    read: (value) => (value === '' ? { value: undefined } : typeof value === 'string' && isHexId(value) ? { value } : undefined),
    write: (id) => (id === undefined ? (omitted ? undefined : '""') : quoted(id)),
  };
}

export function text(key: string): Field<string> {
  return {
    key,
    absent: { value: '' },
    read: (value) => (typeof value === 'string' ? { value } : undefined),
    write: (value) => (value === '' ? undefined : quoted(value)),
  };
}

/** A time, kept as the text of the file. */
export function time(key: string): Field<string> {
  return { ...text(key), absent: { value: '0001-01-01T00:00:00Z' }, write: quoted };
}

export function digest(key: string): Field<Digest | undefined> {
  return {
    key,
    absent: { value: undefined },
    read: (value) => known(typeof value === 'string' ? parseDigest(value) : undefined),
    write: (value) => (value === undefined ? undefined : quoted(value)),
  };
}

export function int64(key: string): Field<bigint> {
  return {
    key,
    absent: { value: 0n },
    read: (value) => known(asInt64(value)),
    write: (value) => (value === 0n ? undefined : value.toString()),
  };
}

export function int(key: string): Field<number> {
  return {
    key,
    absent: { value: 0 },
    read: (value) => (Number.isSafeInteger(value) ? { value: value as number } : undefined),
    write: (value) => (value === 0 ? undefined : String(value)),
  };
}

export function strings(key: string): Field<readonly string[]> {
  return list(key, (item) => (typeof item === 'string' ? item : undefined), quoted);
}

export function ids(key: string): Field<readonly HexId[]> {
  return list(key, (item) => (typeof item === 'string' && isHexId(item) ? item : undefined), quoted);
}

export function uint32s(key: string): Field<readonly number[]> {
  return list(key, (item) => (isUint32(item) ? item : undefined), String);
}

export function idMappings(key: string): Field<readonly IdMapping[]> {
  return list(
    key,
    (item) => {
      const { container_id: containerId, host_id: hostId, size } = asObject(item) ?? {};
      return isUint32(containerId) && isUint32(hostId) && isUint32(size) ? { containerId, hostId, size } : undefined;
    },
    (map) => `{"container_id":${map.containerId},"host_id":${map.hostId},"size":${map.size}}`,
  );
}

export function flags(key: string): Field<ReadonlyMap<string, Json>> {
  return map(key, (value) => value, stringifyExactJson);
}

export function sizes(key: string): Field<ReadonlyMap<string, bigint>> {
  return map(key, asInt64, (size) => size.toString());
}

export function digests(key: string): Field<ReadonlyMap<string, Digest>> {
  return map(key, (value) => (typeof value === 'string' ? parseDigest(value) : undefined), quoted);
}

function list<T>(key: string, read: (item: Json) => T | undefined, write: (item: T) => string): Field<readonly T[]> {
  return {
    key,
    absent: { value: [] },
    read: (value) => {
      if (value === null) return { value: [] };
      if (!Array.isArray(value)) return undefined;
      const items = (value as readonly Json[]).map(read).filter((item) => item !== undefined);
      return items.length === value.length ? { value: items } : undefined;
    },
    write: (items) => omitEmpty(items.map(write), '[', ']'),
  };
}

/** A JSON object as a Map, so that no key of a file reaches a prototype; written with sorted keys, as Go does. */
function map<T>(key: string, read: (value: Json) => T | undefined, write: (value: T) => string): Field<ReadonlyMap<string, T>> {
  return {
    key,
    absent: { value: new Map() },
    read: (value) => {
      if (value === null) return { value: new Map() };
      const object = asObject(value);
      if (object === undefined) return undefined;
      const entries = new Map<string, T>();
      for (const [name, item] of Object.entries(object)) {
        const known = read(item);
        if (known === undefined) return undefined;
        entries.set(name, known);
      }
      return { value: entries };
    },
    write: (entries) => {
      const names = [...entries.keys()].toSorted((a, b) => (a < b ? -1 : 1));
      return omitEmpty(
        names.map((name) => `${quoted(name)}:${write(entries.get(name) as T)}`),
        '{',
        '}',
      );
    },
  };
}

export function asObject(value: Json | undefined): { readonly [key: string]: Json } | undefined {
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as { readonly [key: string]: Json }) : undefined;
}

function asInt64(value: Json): bigint | undefined {
  if (typeof value === 'bigint') return value;
  return typeof value === 'number' && Number.isSafeInteger(value) ? BigInt(value) : undefined;
}

function isUint32(value: Json | undefined): value is number {
  return typeof value === 'number' && Number.isInteger(value) && value >= 0 && value <= 0xffff_ffff;
}

function known<T>(value: T | undefined): { readonly value: T } | undefined {
  return value === undefined ? undefined : { value };
}

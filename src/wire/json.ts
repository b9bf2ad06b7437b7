/** Messages as JSON, the way protobuf spells it: for people and programs that read `-o json`. */
import type { Codec } from './codec.ts';
import { enums, jsonNames, links } from './generated.ts';

export type Json = string | number | boolean | null | readonly Json[] | { readonly [key: string]: Json };

/**
 * protobuf's JSON mapping: lowerCamel names (`CDIDevices` where protobuf keeps the capitals), enums by name (a number without a name stays one), 64-bit numbers as
 * strings, bytes as base64, NaN and infinities as strings. Defaults are written, absent messages are left out.
 */
export function toJson<T extends object>(codec: Codec<T>, message: T): Json {
  return messageJson(codec.name, message);
}

function messageJson(type: string, message: object): Json {
  const linked = links[type];
  const renamed = jsonNames[type];
  const json: Record<string, Json> = {};
  for (const [property, value] of Object.entries(message)) {
    if (value !== undefined) json[renamed?.[property] ?? property] = valueJson(linked?.[property], value);
  }
  return json;
}

function valueJson(type: string | undefined, value: unknown): Json {
  if (typeof value === 'string' || typeof value === 'boolean') return value;
  if (typeof value === 'bigint') return value.toString();
  if (typeof value === 'number') return numberJson(type, value);
  if (value instanceof Uint8Array) return Buffer.from(value.buffer, value.byteOffset, value.byteLength).toString('base64');
  // fromEntries defines properties, so a key such as __proto__ is only a key.
  if (value instanceof Map) return Object.fromEntries<string>(value);
  if (Array.isArray(value)) return value.map((element) => valueJson(type, element));
  if (type !== undefined && typeof value === 'object' && value !== null) return messageJson(type, value);
  throw new TypeError(`not a value of a message: ${typeof value}`);
}

function numberJson(type: string | undefined, value: number): Json {
  if (!Number.isFinite(value)) return String(value);
  const names = type === undefined ? undefined : enums[type];
  if (names === undefined) return value;
  for (const [name, number] of Object.entries(names)) if (number === value) return name;
  return value;
}

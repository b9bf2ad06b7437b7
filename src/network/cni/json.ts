/** A JSON value, as parsed. Objects may hold any key, `__proto__` included: read them with `Object.hasOwn`. */
export type Json = null | boolean | number | string | readonly Json[] | JsonObject;
export interface JsonObject {
  readonly [key: string]: Json;
}

export function isObject(value: unknown): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** An own property, never one of the prototype's. */
export function property(object: JsonObject, key: string): Json | undefined {
  return Object.hasOwn(object, key) ? object[key] : undefined;
}

/** The name that Go's `%T` gives a decoded JSON value: part of libcni's error texts. */
export function goType(value: Json | undefined): string {
  if (value === null || value === undefined) return '<nil>';
  if (Array.isArray(value)) return '[]interface {}';
  const names: Readonly<Record<string, string>> = { string: 'string', boolean: 'bool', number: 'float64' };
  return names[typeof value] ?? 'map[string]interface {}';
}

/**
 * JSON as Go's encoder writes a map: keys in byte order, `<`, `>`, `&` and the two line separators escaped. The cache
 * files and annotations that CRI-O and we exchange have this form, so that equal contents are equal bytes.
 */
export function goJson(value: Json): string {
  return JSON.stringify(sorted(value)).replaceAll(/[<>&\u2028\u2029]/g, (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, '0')}`);
}

function sorted(value: Json): Json {
  if (Array.isArray(value)) return value.map(sorted);
  if (!isObject(value)) return value;
  const copy = Object.create(null) as Record<string, Json>;
  for (const key of Object.keys(value).toSorted(compareBytes)) copy[key] = sorted(value[key] ?? null);
  return copy;
}

/** Byte order of the UTF-8 forms, as Go compares strings. */
export function compareBytes(a: string, b: string): number {
  return Buffer.compare(Buffer.from(a), Buffer.from(b));
}

/**
 * JSON with 64-bit integers kept exact, in the form Go writes: an integer beyond 2⁵³ is a bigint on both sides,
 * and `<`, `>`, `&`, U+2028, U+2029 in strings are escaped as encoding/json does.
 */
declare global {
  interface JSON {
    rawJSON(text: string): unknown;
  }
}

/** Parses; integers that a number cannot hold become bigints. Throws SyntaxError. */
export function parseExactJson(text: string): unknown {
  if (!/\d{16}/.test(text)) return JSON.parse(text) as unknown; // 2⁵³ has 16 digits; a reviver is ten times slower.
  return JSON.parse(text, function revive(_key: string, value: unknown, context?: { readonly source?: string }): unknown {
    if (typeof value === 'number' && !Number.isSafeInteger(value) && context?.source !== undefined && /^-?\d+$/.test(context.source))
      return BigInt(context.source);
    return value;
  } as (this: unknown, key: string, value: unknown) => unknown);
}

/** Writes; bigints as plain integers. `indent` as JSON.stringify's third argument. */
export function stringifyExactJson(value: unknown, indent?: string): string {
  const text = JSON.stringify(value, (_key, v: unknown) => (typeof v === 'bigint' ? JSON.rawJSON(v.toString()) : v), indent);
  return text.replace(/[<>&\u2028\u2029]/g, (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, '0')}`);
}

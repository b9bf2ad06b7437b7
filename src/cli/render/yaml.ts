/** YAML of plain JSON values; what a plain scalar could be mistaken for is quoted the way JSON quotes it. */
import type { Json } from '../../wire/index.ts';

/** Words and numbers that YAML 1.1 or 1.2 readers take for something other than text. */
const AMBIGUOUS = /^(?:~|null|true|false|yes|no|on|off|y|n|[-+]?[.0-9][-+.0-9a-z_:]*|[-+]?\.(?:inf|nan)|<<|=)$/i;
const PLAIN = /^[A-Za-z0-9_./$][A-Za-z0-9_./@+$-]*(?:[: ][A-Za-z0-9_./@+$-]+)*$/;
/** `a: b` would be a mapping; a date or time is left quoted. */
const COLON_BLANK = /: |:$/;

export function toYaml(value: Json): string {
  return isScalar(value) || isEmpty(value) ? `${scalar(value)}\n` : block(value, '');
}

function block(value: Json, indent: string): string {
  if (isList(value))
    return value
      .map((element) => `${indent}- ${element instanceof Object && !isEmpty(element) ? nested(element, indent) : `${scalar(element)}\n`}`)
      .join('');
  return Object.entries(value as Readonly<Record<string, Json>>)
    .map(([key, element]) => {
      const name = `${indent}${text(key)}:`;
      if (isScalar(element) || isEmpty(element)) return `${name} ${scalar(element)}\n`;
      return `${name}\n${block(element, isList(element) ? indent : `${indent}  `)}`;
    })
    .join('');
}

/** A collection inside a list begins on the line of its dash. */
function nested(value: Json, indent: string): string {
  return block(value, `${indent}  `).slice(indent.length + 2);
}

function isList(value: Json): value is readonly Json[] {
  return Array.isArray(value);
}

function isScalar(value: Json): value is string | number | boolean | null {
  return typeof value !== 'object' || value === null;
}

function isEmpty(value: Json): boolean {
  return !isScalar(value) && (isList(value) ? value.length === 0 : Object.keys(value).length === 0);
}

function scalar(value: Json): string {
  if (typeof value === 'string') return text(value);
  if (typeof value === 'object' && value !== null) return isList(value) ? '[]' : '{}';
  return String(value);
}

function text(value: string): string {
  return PLAIN.test(value) && !AMBIGUOUS.test(value) && !COLON_BLANK.test(value) ? value : quoted(value);
}

/** JSON's escapes are YAML's; what JSON leaves bare and a terminal obeys is escaped as well. */
export function quoted(value: string): string {
  return escapeControls(JSON.stringify(value));
}

/** In JSON text, control characters can only stand inside strings, where \u is legal. */
export function escapeControls(json: string): string {
  return json.replace(
    /[\u007f-\u009f\u2028\u2029\u202a-\u202e\u2066-\u2069]/g,
    (found) => `\\u${(found.codePointAt(0) ?? 0).toString(16).padStart(4, '0')}`,
  );
}

/** Texts that come from outside, made harmless for a terminal, and the small spellings of sizes and times. */

// Control characters of C0 and C1, DEL, and the marks that turn the direction of the text that follows.
// oxlint-disable-next-line no-control-regex -- finding them is the purpose
const UNSAFE = /[\u0000-\u001f\u007f-\u009f\u2028\u2029\u202a-\u202e\u2066-\u2069]/g;
// oxlint-disable-next-line no-control-regex -- finding them is the purpose
const UNSAFE_IN_LINES = /\u001b\[[0-9;]*m|[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u202a-\u202e\u2066-\u2069]/g;

function escaped(character: string): string {
  const code = character.codePointAt(0) ?? 0;
  if (character === '\n') return '\\n';
  if (character === '\t') return '\\t';
  if (character === '\r') return '\\r';
  return code < 0x100 ? `\\x${code.toString(16).padStart(2, '0')}` : `\\u${code.toString(16).padStart(4, '0')}`;
}

/** One cell or one message: no character of it can move the cursor, change the terminal or begin a line. */
export function printable(text: string): string {
  return text.replace(UNSAFE, escaped);
}

/** Output of a container on a terminal: lines, tabs and colours pass, every other control is shown, not obeyed. */
export function printableLines(text: string): string {
  return text.replace(UNSAFE_IN_LINES, (found) => (found.length > 1 ? found : found === '\r' ? '' : escaped(found)));
}

/** `4.26MB`: three digits, powers of 1000, as registries and other tools count images. */
export function formatSize(bytes: bigint | number): string {
  const units = ['B', 'kB', 'MB', 'GB', 'TB', 'PB'];
  let value = Number(bytes);
  let unit = 0;
  while (value >= 999.5 && unit < units.length - 1) {
    value /= 1000;
    unit++;
  }
  return `${unit === 0 ? value : Number(value.toPrecision(3))}${units[unit]}`;
}

const SPANS = [
  ['year', 31_536_000],
  ['month', 2_592_000],
  ['week', 604_800],
  ['day', 86_400],
  ['hour', 3_600],
  ['minute', 60],
  ['second', 1],
] as const;

/** `3 minutes ago`; `createdAt` in nanoseconds since 1970, `now` in milliseconds. Zero is no time. */
export function formatAge(createdAt: bigint, now: number): string {
  if (createdAt <= 0n) return '-';
  const seconds = Math.floor((now - Number(createdAt / 1_000_000n)) / 1000);
  for (const [name, length] of SPANS) {
    // Two of a unit at least, so that the error stays below half: 90 seconds is "90 seconds", 130 is "2 minutes".
    if (seconds >= 2 * length) return `${Math.floor(seconds / length)} ${name}s ago`;
  }
  return seconds >= 1 ? '1 second ago' : 'just now';
}

/** `850ms`, `4.2s`, `3m05s`. */
export function formatElapsed(milliseconds: number): string {
  if (milliseconds < 1000) return `${Math.round(milliseconds)}ms`;
  if (milliseconds < 60_000) return `${(milliseconds / 1000).toFixed(1)}s`;
  const seconds = Math.round(milliseconds / 1000);
  return `${Math.floor(seconds / 60)}m${String(seconds % 60).padStart(2, '0')}s`;
}

/** The first 13 characters of an id, with which people name it; a digest loses its algorithm. */
export function shortId(id: string): string {
  return id.slice(id.indexOf(':') + 1).slice(0, 13);
}

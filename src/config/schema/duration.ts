/**
 * Durations as Go writes them (`1h30m`, `250ms`, `-5s`), held as milliseconds [A6, B9].
 * A double keeps every nanosecond up to 52 days apart; beyond that only fractions of a microsecond get lost.
 */
const NANOSECONDS: Readonly<Record<string, bigint>> = {
  ns: 1n,
  us: 1_000n,
  µs: 1_000n,
  μs: 1_000n,
  ms: 1_000_000n,
  s: 1_000_000_000n,
  m: 60_000_000_000n,
  h: 3_600_000_000_000n,
};
const LONGEST = 2n ** 63n - 1n;

/** Milliseconds, or undefined where the text is no Go duration or longer than 292 years. */
export function parseDuration(text: string): number | undefined {
  const sign = text.startsWith('-') ? -1n : 1n;
  const body = text.replace(/^[+-]/, '');
  if (body === '0') return 0;
  let total = 0n;
  let rest = body;
  while (rest !== '') {
    const part = /^(\d*)(?:\.(\d*))?(ns|us|µs|μs|ms|s|m|h)/.exec(rest);
    const [whole, digits = '', fraction = '', unit = ''] = part ?? [];
    const scale = NANOSECONDS[unit];
    if (whole === undefined || scale === undefined || digits + fraction === '') return undefined;
    if (digits.length > 19) return undefined;
    const cut = fraction.slice(0, 18);
    total += BigInt(digits === '' ? '0' : digits) * scale + (cut === '' ? 0n : (BigInt(cut) * scale) / 10n ** BigInt(cut.length));
    if (total > LONGEST) return undefined;
    rest = rest.slice(whole.length);
  }
  return body === '' ? undefined : millisecondsOf(sign * total);
}

export function millisecondsOf(nanoseconds: bigint): number {
  return Number(nanoseconds) / 1e6;
}

/** Go's own spelling: `0s`, `1m0s`, `1h0m0s`, `1.5s`, `300ms`, `2µs` [B9]. */
export function formatDuration(milliseconds: number): string {
  const total = BigInt(Math.round(milliseconds * 1e6));
  const sign = total < 0n ? '-' : '';
  const size = total < 0n ? -total : total;
  if (size === 0n) return '0s';
  if (size < 1_000n) return `${sign}${size}ns`;
  if (size < 1_000_000n) return `${sign}${decimal(size, 3)}µs`;
  if (size < 1_000_000_000n) return `${sign}${decimal(size, 6)}ms`;
  const minutes = size / 60_000_000_000n;
  const seconds = `${decimal(size % 60_000_000_000n, 9)}s`;
  if (minutes === 0n) return sign + seconds;
  const hours = minutes / 60n;
  return hours === 0n ? `${sign}${minutes}m${seconds}` : `${sign}${hours}h${minutes % 60n}m${seconds}`;
}

/** `value / 10^places` without trailing zeros. */
function decimal(value: bigint, places: number): string {
  const scale = 10n ** BigInt(places);
  const fraction = String(value % scale)
    .padStart(places, '0')
    .replace(/0+$/, '');
  return fraction === '' ? String(value / scale) : `${value / scale}.${fraction}`;
}

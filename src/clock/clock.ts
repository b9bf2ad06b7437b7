/** Nanoseconds since the epoch: the unit of every time in CRI and in our records. */
export type Nanoseconds = bigint;

export function nowNs(): Nanoseconds {
  // Date knows milliseconds; the monotonic clock's digits below keep two events of one millisecond apart.
  return BigInt(Date.now()) * 1_000_000n + (process.hrtime.bigint() % 1_000_000n);
}

/** Go's zero time, which CRI-O writes where nothing has happened yet. */
export const GO_ZERO_TIME = '0001-01-01T00:00:00Z';

/** RFC 3339 with nanoseconds in UTC, trailing zeros cut as Go's RFC3339Nano does; undefined is Go's zero time. */
export function toRfc3339(time: Nanoseconds | undefined): string {
  if (time === undefined) return GO_ZERO_TIME;
  const seconds = time / 1_000_000_000n;
  const rest = time % 1_000_000_000n;
  const whole = new Date(Number(seconds) * 1000).toISOString().slice(0, 19);
  const fraction = rest === 0n ? '' : `.${rest.toString().padStart(9, '0').replace(/0+$/, '')}`;
  return `${whole}${fraction}Z`;
}

const RFC3339 = /^(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?(Z|[+-]\d\d:\d\d)$/;

/** The other direction; undefined for Go's zero time and for anything that is not RFC 3339. */
export function fromRfc3339(text: string): Nanoseconds | undefined {
  const match = RFC3339.exec(text);
  if (match === null || text.startsWith('0001-01-01T')) return undefined;
  const milliseconds = Date.parse(`${match[1]}${match[3]}`);
  if (Number.isNaN(milliseconds)) return undefined;
  return BigInt(milliseconds) * 1_000_000n + BigInt((match[2] ?? '').padEnd(9, '0'));
}

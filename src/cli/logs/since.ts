import { parseDuration } from '../../config/index.ts';
import { Failure } from '../../errors/index.ts';

/** `10m` before `now`, or a time as RFC 3339 has it; milliseconds since 1970. Failure with code `usage` for anything else. */
export function parseSince(text: string, now: number): number {
  const ago = parseDuration(text);
  if (ago !== undefined && ago >= 0) return now - ago;
  const at = /^\d{4}-\d\d-\d\dT/.test(text) ? Date.parse(text) : Number.NaN;
  if (Number.isFinite(at)) return at;
  throw new Failure('InvalidArgument', `not a time: "${text}"`, {
    code: 'usage',
    advice: 'Write a duration as in 90s, 10m, 2h30m, or a time as in 2026-01-02T15:04:05Z.',
  });
}

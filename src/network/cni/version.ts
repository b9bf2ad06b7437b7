import { Failure } from '../../errors/index.ts';

/** The newest CNI specification that this client speaks [H9]. */
export const CNI_VERSION = '1.1.0';

/** Parses `1`, `1.0` or `1.0.0`; the empty string is 0.1.0, as the specification says. */
export function parseVersion(text: string): readonly [number, number, number] {
  if (text === '') return [0, 1, 0];
  const parts = text.split('.');
  if (parts.length > 3) throw new Failure('InvalidArgument', `invalid version "${text}": too many parts`);
  const numbers = parts.map((part, index) => {
    if (!/^\d{1,9}$/.test(part))
      throw new Failure('InvalidArgument', `failed to convert ${['major', 'minor', 'micro'][index]} version part "${part}"`);
    return Number(part);
  });
  return [numbers[0] ?? 0, numbers[1] ?? 0, numbers[2] ?? 0];
}

/** Negative, zero or positive, as `a` is older than, as old as, or newer than `b`. Fails on what is no version. */
export function compareVersions(a: string, b: string): number {
  const [left, right] = [parseVersion(a), parseVersion(b)];
  return left[0] - right[0] || left[1] - right[1] || left[2] - right[2];
}

export function atLeast(version: string, minimum: string): boolean {
  return compareVersions(version, minimum) >= 0;
}

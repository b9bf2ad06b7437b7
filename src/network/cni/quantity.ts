import { Failure } from '../../errors/index.ts';

const DECIMAL: Readonly<Record<string, number>> = { n: -9, u: -6, m: -3, '': 0, k: 3, M: 6, G: 9, T: 12, P: 15, E: 18 };
const BINARY: Readonly<Record<string, number>> = { Ki: 10, Mi: 20, Gi: 30, Ti: 40, Pi: 50, Ei: 60 };
const MAX_INT64 = 2n ** 63n - 1n;
const FORM = "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'";

/**
 * A Kubernetes quantity (`10M`, `1.5Gi`, `1e6`) as a whole number; undefined when it is not whole or passes 64 bits.
 * Linear in the text's length; fails with apimachinery's texts on what is no quantity.
 */
export function parseQuantity(text: string): bigint | undefined {
  const matched = /^([+-]?)(\d*)(?:\.(\d*))?([A-Za-z]*)([+-]?\d*)$/.exec(text.length > 64 ? '' : text);
  const [, sign, whole = '', fraction = '', letters = '', exponentText = ''] = matched ?? [];
  if (matched === null || whole + fraction === '') throw new Failure('InvalidArgument', FORM);
  const { power, base } = suffix(letters, exponentText);
  let value = BigInt(whole + fraction) * (sign === '-' ? -1n : 1n);
  let scale = -fraction.length;
  if (base === 2) value <<= BigInt(power);
  else scale += power;
  if (scale >= 0) value *= 10n ** BigInt(scale);
  else if (value % 10n ** BigInt(-scale) === 0n) value /= 10n ** BigInt(-scale);
  else return undefined;
  return value > MAX_INT64 || value < -MAX_INT64 ? undefined : value;
}

function suffix(letters: string, exponent: string): { readonly power: number; readonly base: 2 | 10 } {
  if ((letters === 'e' || letters === 'E') && /^[+-]?\d{1,2}$/.test(exponent)) return { power: Number(exponent), base: 10 };
  if (exponent === '' && Object.hasOwn(DECIMAL, letters)) return { power: DECIMAL[letters] ?? 0, base: 10 };
  if (exponent === '' && Object.hasOwn(BINARY, letters)) return { power: BINARY[letters] ?? 0, base: 2 };
  throw new Failure('InvalidArgument', "unable to parse quantity's suffix");
}

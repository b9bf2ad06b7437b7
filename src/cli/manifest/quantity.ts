/** Kubernetes quantities: `250m`, `1.5`, `64Mi`, `1e3`. Exact, as cents of bytes must not come and go by rounding. */
import { type Decoder, wrong } from './decode.ts';

const QUANTITY = /^\+?(\d+)(?:\.(\d*))?(?:([eE])([+-]?\d{1,2})|(n|u|m|k|M|G|T|P|E|Ki|Mi|Gi|Ti|Pi|Ei))?$/;
const BINARY: Readonly<Record<string, bigint>> = {
  Ki: 1n << 10n,
  Mi: 1n << 20n,
  Gi: 1n << 30n,
  Ti: 1n << 40n,
  Pi: 1n << 50n,
  Ei: 1n << 60n,
};
const DECIMAL: Readonly<Record<string, number>> = { n: -9, u: -6, m: -3, k: 3, M: 6, G: 9, T: 12, P: 15, E: 18 };

/** The quantity times `scale`, rounded up as Kubernetes does; undefined if it is none. Never negative. */
export function parseQuantity(text: string, scale: bigint): bigint | undefined {
  const match = QUANTITY.exec(text);
  if (match === null) return undefined;
  const [, whole = '', fraction = '', , exponent, suffix] = match;
  let numerator = BigInt(whole + fraction) * scale;
  let power = -fraction.length;
  if (exponent !== undefined) power += Number(exponent);
  if (suffix !== undefined) {
    if (Object.hasOwn(BINARY, suffix)) numerator *= BINARY[suffix] ?? 1n;
    else power += DECIMAL[suffix] ?? 0;
  }
  if (power >= 0) return numerator * 10n ** BigInt(power);
  const denominator = 10n ** BigInt(-power);
  return (numerator + denominator - 1n) / denominator;
}

function quantity(scale: bigint, example: string): Decoder<bigint> {
  return (value, path) => {
    const found = typeof value === 'string' || typeof value === 'number' ? parseQuantity(String(value), scale) : undefined;
    if (found === undefined || found > 1n << 62n)
      throw wrong(path, `expected a quantity such as ${example}, found ${JSON.stringify(value)}`);
    return found;
  };
}

/** CPUs, as thousandths of one. */
export const milliCpu = quantity(1000n, '500m or 1.5');
/** Bytes. */
export const bytes = quantity(1n, '64Mi');

/**
 * Sizes with binary units as Docker's tools write them: `12MiB`, `500k`, `1.5 GB`, `1024` [K11].
 * Bytes, or the text of what is wrong.
 */
const POWERS = ['b', 'k', 'm', 'g', 't', 'p'];

export function parseSize(text: string): { readonly bytes: number } | { readonly problem: string } {
  const end = /^[^]*[0-9. ]/.exec(text)?.[0].length ?? 0;
  const number = text.slice(0, end).replace(/ $/, '');
  const suffix = text.slice(end).toLowerCase();
  if (end === 0 || !/^(?:\d+\.?\d*|\.\d+)$/.test(number)) return { problem: `invalid size: '${text}'` };
  const power = POWERS.indexOf(suffix === '' ? 'b' : suffix.charAt(0));
  const rest = suffix.slice(1);
  const whole = power === 0 ? rest === '' : rest === '' || rest === 'b' || rest === 'ib';
  if (power < 0 || !whole) return { problem: `invalid suffix: '${suffix}'` };
  return { bytes: Math.min(Math.floor(Number(number) * 1024 ** power), Number.MAX_SAFE_INTEGER) };
}

import type { ImageReference, ParsedReference } from '../reference.ts';
import { type IdentityRule, qualified } from './requirements.ts';

/**
 * Whether the name that a signature carries is one that the rule takes for this image [I30]. The name is foreign: one that is
 * no name fits nothing.
 */
export function fits(rule: IdentityRule, image: ImageReference, signed: string): boolean {
  const said = tryQualified(signed);
  if (said === undefined) return false;
  switch (rule.type) {
    case 'matchExact':
      return sameText(image, said);
    case 'matchRepoDigestOrExact':
      return image.digest === undefined ? sameText(image, said) : sameName(image, said);
    case 'matchRepository':
      return sameName(image, said);
    case 'exactReference':
      return sameText(rule.reference, said);
    case 'exactRepository':
      return sameName(rule.repository, said);
    case 'remapIdentity': {
      const remapped = remap(image, rule.prefix, rule.signedPrefix);
      return image.digest === undefined ? sameText(remapped, said) : sameName(remapped, said);
    }
    default:
      return rule satisfies never;
  }
}

function tryQualified(text: string): ParsedReference | undefined {
  try {
    return qualified(text);
  } catch {
    return undefined;
  }
}

function sameName(a: ParsedReference, b: ParsedReference): boolean {
  return a.domain === b.domain && a.path === b.path;
}

function sameText(a: ParsedReference, b: ParsedReference): boolean {
  return sameName(a, b) && a.tag === b.tag && a.digest === b.digest && (a.tag ?? a.digest) !== undefined;
}

/** The image under the name that it was signed as; itself where the prefix is not its own. */
function remap(image: ImageReference, prefix: string, signedPrefix: string): ParsedReference {
  const name = `${image.domain}/${image.path}`;
  if (name !== prefix && !name.startsWith(`${prefix}/`)) return image;
  const { domain, path } = qualified(`${signedPrefix}${name.slice(prefix.length)}`);
  return { domain, path, tag: image.tag, digest: image.digest };
}

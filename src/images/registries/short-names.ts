import { Failure, wrap } from '../../errors/index.ts';
import {
  type ImageReference,
  type ParsedReference,
  formatReference,
  isFullyQualified,
  normaliseReference,
  parseReference,
} from '../reference.ts';
import type { RegistriesConf } from './conf.ts';

export interface Resolution {
  readonly candidates: readonly ImageReference[];
  /** What the log says about it [I10]; undefined for a fully qualified name. */
  readonly because: string | undefined;
}

export interface ShortNameRules {
  readonly conf: RegistriesConf;
  /** '' behaves like enforcing [I11]. */
  readonly mode: 'enforcing' | 'disabled' | '';
  /** Whether any configuration file was found: decides which error is told [I13]. */
  readonly confPath: string | undefined;
}

/**
 * The fully qualified names that a user's text may mean: itself, an alias' target, or one per
 * unqualified-search registry [I9, I10, I11, I13]. Fails with InvalidArgument.
 */
export function resolveShortName(text: string, rules: ShortNameRules): Resolution {
  const parsed = parsedOrExplained(text);
  if (isFullyQualified(parsed))
    return { candidates: [normalised(text, `cannot normalize input: ${JSON.stringify(text)}`)], because: undefined };
  const repository = parsed.domain === '' ? parsed.path : `${parsed.domain}/${parsed.path}`;
  const alias = rules.conf.aliases.get(repository);
  if (alias?.target !== undefined) {
    const target = normaliseReference(`${alias.target.domain}/${alias.target.path}${suffixOf(parsed)}`);
    return { candidates: [target], because: `Resolved ${JSON.stringify(repository)} as an alias (${alias.origin})` };
  }
  const search = rules.conf.search;
  if (search === undefined || search.registries.length === 0) throw nothingToSearch(text, search?.origin ?? rules.confPath);
  const candidates = search.registries.map((registry) =>
    normalised(`${registry}/${text}`, `creating reference with unqualified-search registry ${JSON.stringify(registry)}`),
  );
  if (rules.mode !== 'disabled' && candidates.length > 1) throw ambiguous(text, candidates, search.origin);
  return { candidates, because: `Resolving ${JSON.stringify(repository)} using unqualified-search registries (${search.origin})` };
}

function parsedOrExplained(text: string): ParsedReference {
  try {
    return parseReference(text);
  } catch (error) {
    throw wrap(`cannot parse input: ${JSON.stringify(text.slice(0, 512))}`, error);
  }
}

function normalised(text: string, prefix: string): ImageReference {
  try {
    return normaliseReference(text);
  } catch (error) {
    throw wrap(prefix, error);
  }
}

function suffixOf(parsed: ParsedReference): string {
  return parsed.digest !== undefined ? `@${parsed.digest}` : parsed.tag !== undefined ? `:${parsed.tag}` : '';
}

function nothingToSearch(text: string, path: string | undefined): Failure {
  const name = JSON.stringify(text);
  const why =
    path === undefined
      ? 'no containers-registries.conf(5) was found'
      : `no unqualified-search registries are defined in ${JSON.stringify(path)}`;
  return new Failure('InvalidArgument', `short-name ${name} did not resolve to an alias and ${why}`, {
    advice: `Write the full name, such as docker.io/library/${text}, or set unqualified-search-registries.`,
  });
}

/** The reference's sentence, then what it leaves out: the candidates, the setting's file and the way out. */
function ambiguous(text: string, candidates: readonly ImageReference[], origin: string): Failure {
  const names = candidates.map(formatReference);
  const sentence = `short name mode is enforcing, but image name ${text} returns ambiguous list`;
  return new Failure(
    'InvalidArgument',
    `${sentence}: ${names.join(', ')} (unqualified-search-registries in ${origin}); write the full name, such as ${names[0]}`,
    { advice: `Write the full name, or leave one registry in unqualified-search-registries of ${origin}.` },
  );
}

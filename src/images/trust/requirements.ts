import { Failure } from '../../errors/index.ts';
import { type JsonTable, asTable, field, textField, textsField } from '../json.ts';
import { type ParsedReference, parseReference } from '../reference.ts';

/** Where keys or certificates of a requirement are: files, and texts in the policy itself (decoded). Read when they are needed. */
export interface KeySource {
  readonly paths: readonly string[];
  readonly data: readonly Buffer[];
}

/** What a signature must say that it signs. */
export type IdentityRule =
  | { readonly type: 'matchExact' | 'matchRepoDigestOrExact' | 'matchRepository' }
  | { readonly type: 'exactReference'; readonly reference: ParsedReference }
  | { readonly type: 'exactRepository'; readonly repository: ParsedReference }
  | { readonly type: 'remapIdentity'; readonly prefix: string; readonly signedPrefix: string };

/** Who may sign by sigstore: holders of keys, or of certificates. */
export type SigstoreTrust =
  | { readonly kind: 'keys'; readonly keys: KeySource }
  | { readonly kind: 'fulcio'; readonly ca: KeySource; readonly oidcIssuer: string; readonly subjectEmail: string }
  | {
      readonly kind: 'pki';
      readonly roots: KeySource;
      readonly intermediates: KeySource | undefined;
      readonly subjectEmail: string;
      readonly subjectHostname: string;
    };

/** One requirement of policy.json [I30]. */
export type Requirement =
  | { readonly type: 'insecureAcceptAnything' }
  | { readonly type: 'reject' }
  | { readonly type: 'signedBaseLayer' }
  | { readonly type: 'signedBy'; readonly keys: KeySource; readonly identity: IdentityRule }
  | {
      readonly type: 'sigstoreSigned';
      readonly trust: SigstoreTrust;
      /** Keys of transparency logs; one of them must have logged the signature. */
      readonly rekor: KeySource | undefined;
      readonly identity: IdentityRule;
    };

/** Reads the requirements of one scope. Fails with InvalidArgument for anything that is not understood [I30]. */
export function parseRequirements(value: unknown): readonly Requirement[] {
  if (!Array.isArray(value)) throw invalid('policy requirements are no list');
  if (value.length === 0) throw invalid('List of verification policy requirements must not be empty');
  return value.map((entry: unknown) => parseRequirement(asTable(entry, WHAT)));
}

const WHAT = 'policy requirement';

function parseRequirement(table: JsonTable): Requirement {
  const type = textField(table, 'type', WHAT) ?? '';
  switch (type) {
    case 'insecureAcceptAnything':
    case 'reject':
      onlyKeys(table, ['type']);
      return { type };
    case 'signedBaseLayer':
      onlyKeys(table, ['type', 'baseLayerIdentity']);
      parseIdentity(field(table, 'baseLayerIdentity'));
      return { type };
    case 'signedBy':
      return parseSignedBy(table);
    case 'sigstoreSigned':
      return parseSigstoreSigned(table);
    default:
      throw invalid(`Unknown policy requirement type ${JSON.stringify(type)}`);
  }
}

function parseSignedBy(table: JsonTable): Requirement {
  onlyKeys(table, ['type', 'keyType', 'keyPath', 'keyPaths', 'keyData', 'signedIdentity']);
  const keyType = textField(table, 'keyType', WHAT) ?? '';
  if (keyType !== 'GPGKeys') throw invalid(`Unimplemented "keyType" value ${JSON.stringify(keyType)}`);
  const keys = oneOf(table, ['keyPath', 'keyPaths', 'keyData']);
  if (keys === undefined) throw invalid('exactly one of keyPath, keyPaths and keyData must be specified');
  return { type: 'signedBy', keys, identity: identityOf(table) };
}

function parseSigstoreSigned(table: JsonTable): Requirement {
  const keyNames = ['keyPath', 'keyPaths', 'keyData', 'keyDatas'];
  const rekorNames = ['rekorPublicKeyPath', 'rekorPublicKeyPaths', 'rekorPublicKeyData', 'rekorPublicKeyDatas'];
  onlyKeys(table, ['type', ...keyNames, 'fulcio', 'pki', ...rekorNames, 'signedIdentity']);
  const keys = oneOf(table, keyNames);
  const [fulcio, pki] = [field(table, 'fulcio'), field(table, 'pki')];
  if ([keys, fulcio, pki].filter((source) => source !== undefined).length !== 1)
    throw invalid('exactly one of keyPath, keyPaths, keyData, keyDatas, fulcio and pki must be specified');
  const rekor = oneOf(table, rekorNames);
  const identity = identityOf(table);
  if (keys !== undefined) return { type: 'sigstoreSigned', trust: { kind: 'keys', keys }, rekor, identity };
  if (fulcio !== undefined) {
    if (rekor === undefined) throw invalid(`At least one of ${rekorNames.join(', ')} must be specified if fulcio is used`);
    return { type: 'sigstoreSigned', trust: parseFulcio(asTable(fulcio, `${WHAT}: fulcio`)), rekor, identity };
  }
  if (rekor !== undefined) throw invalid('rekorPublicKey* is not supported for pki');
  return { type: 'sigstoreSigned', trust: parsePki(asTable(pki, `${WHAT}: pki`)), rekor, identity };
}

function parseFulcio(table: JsonTable): SigstoreTrust {
  onlyKeys(table, ['caPath', 'caData', 'oidcIssuer', 'subjectEmail']);
  const ca = oneOf(table, ['caPath', 'caData']);
  if (ca === undefined) throw invalid('exactly one of caPath and caData must be specified');
  const oidcIssuer = textField(table, 'oidcIssuer', WHAT) ?? '';
  if (oidcIssuer === '') throw invalid('oidcIssuer not specified');
  const subjectEmail = textField(table, 'subjectEmail', WHAT) ?? '';
  if (subjectEmail === '') throw invalid('subjectEmail not specified');
  return { kind: 'fulcio', ca, oidcIssuer, subjectEmail };
}

function parsePki(table: JsonTable): SigstoreTrust {
  const names = ['caRootsPath', 'caRootsData', 'caIntermediatesPath', 'caIntermediatesData', 'subjectEmail', 'subjectHostname'];
  onlyKeys(table, names);
  const roots = oneOf(table, ['caRootsPath', 'caRootsData']);
  if (roots === undefined) throw invalid('exactly one of caRootsPath and caRootsData must be specified');
  const subjectEmail = textField(table, 'subjectEmail', WHAT) ?? '';
  const subjectHostname = textField(table, 'subjectHostname', WHAT) ?? '';
  if (subjectEmail === '' && subjectHostname === '') throw invalid('at least one of subjectEmail and subjectHostname must be specified');
  return { kind: 'pki', roots, intermediates: oneOf(table, ['caIntermediatesPath', 'caIntermediatesData']), subjectEmail, subjectHostname };
}

/** The one of these keys that is there; a path or text, or lists of them. More than one is an error. */
function oneOf(table: JsonTable, names: readonly string[]): KeySource | undefined {
  const said = names.filter((name) => field(table, name) !== undefined);
  const [name] = said;
  if (name === undefined) return undefined;
  if (said.length > 1) throw invalid(`only one of ${said.join(' and ')} may be specified`);
  const texts = name.endsWith('s') ? textsField(table, name, WHAT) : [textField(table, name, WHAT) ?? ''];
  if (texts.length === 0 || texts.includes('')) throw invalid(`${name} is empty`);
  return name.includes('Data') ? { paths: [], data: texts.map((text) => decoded(text, name)) } : { paths: texts, data: [] };
}

function decoded(text: string, name: string): Buffer {
  if (!/^[A-Za-z0-9+/\r\n]*={0,2}$/.test(text)) throw invalid(`${name} is no base64 text`);
  return Buffer.from(text, 'base64');
}

function identityOf(table: JsonTable): IdentityRule {
  const value = field(table, 'signedIdentity');
  return value === undefined ? { type: 'matchRepoDigestOrExact' } : parseIdentity(value);
}

function parseIdentity(value: unknown): IdentityRule {
  const table = asTable(value, `${WHAT}: signedIdentity`);
  const type = textField(table, 'type', WHAT) ?? '';
  const known = (key: string) => {
    const text = textField(table, key, WHAT) ?? '';
    if (text === '') throw invalid(`signedIdentity: ${key} is missing`);
    return text;
  };
  switch (type) {
    case 'matchExact':
    case 'matchRepoDigestOrExact':
    case 'matchRepository':
      onlyKeys(table, ['type']);
      return { type };
    case 'exactReference': {
      onlyKeys(table, ['type', 'dockerReference']);
      const reference = qualified(known('dockerReference'));
      if (reference.tag === undefined && reference.digest === undefined)
        throw invalid(`dockerReference ${JSON.stringify(known('dockerReference'))} contains neither a tag nor digest`);
      return { type, reference };
    }
    case 'exactRepository':
      onlyKeys(table, ['type', 'dockerRepository']);
      return { type, repository: qualified(known('dockerRepository')) };
    case 'remapIdentity':
      onlyKeys(table, ['type', 'prefix', 'signedPrefix']);
      return { type, prefix: prefixOf(known('prefix')), signedPrefix: prefixOf(known('signedPrefix')) };
    default:
      throw invalid(`Unknown policy reference match type ${JSON.stringify(type)}`);
  }
}

/** A name as people write it, with its host, and no tag made up. */
export function qualified(text: string): ParsedReference {
  const parsed = parseReference(text);
  if (/[.:]/.test(parsed.domain) || parsed.domain === 'localhost') return parsed;
  const path = parsed.domain === '' ? parsed.path : `${parsed.domain}/${parsed.path}`;
  return { ...parsed, domain: 'docker.io', path: path.includes('/') ? path : `library/${path}` };
}

/** A host, or a repository or the beginning of one: whole components. */
function prefixOf(text: string): string {
  const parsed = parseReference(text.includes('/') ? text : `${text}/x`);
  if (parsed.domain === '' || parsed.tag !== undefined || parsed.digest !== undefined)
    throw invalid(`prefix ${JSON.stringify(text)} is not a valid host or repository`);
  return text;
}

export function onlyKeys(table: JsonTable, allowed: readonly string[]): void {
  const odd = Object.keys(table).find((key) => !allowed.includes(key));
  if (odd !== undefined) throw invalid(`Unknown key ${JSON.stringify(odd)}`);
}

function invalid(message: string): Failure {
  return new Failure('InvalidArgument', message);
}

import { type KeyObject, X509Certificate } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { X509Certificate as Parsed } from '@sigstore/core';
import { Failure, textOf, wrap } from '../../errors/index.ts';
import type { KeySource, SigstoreTrust } from './requirements.ts';

/** A certificate as it came with a signature. */
export interface PresentedCertificate {
  /** PEM. */
  readonly certificate: string;
  /** PEM of what may stand between it and a root; may be empty. */
  readonly chain: string;
  /** When it must have been valid. */
  readonly at: Date;
}

const CODE_SIGNING = '1.3.6.1.5.5.7.3.3';
const OIDC_ISSUER_OLD = '1.3.6.1.4.1.57264.1.1';
const OIDC_ISSUER = '1.3.6.1.4.1.57264.1.8';
const SUBJECT_ALTERNATIVE_NAME = '2.5.29.17';
/** Extensions that are understood here, or that change nothing about who signed. */
const UNDERSTOOD: ReadonlySet<string> = new Set([
  '2.5.29.14',
  '2.5.29.15',
  SUBJECT_ALTERNATIVE_NAME,
  '2.5.29.19',
  '2.5.29.35',
  '2.5.29.37',
]);
const MAX_CERTIFICATES = 16;
const MAX_PEM = 256 * 1024;

/**
 * The key of a certificate whose path leads to a root of the policy, that was made for signing code, and that names whom the
 * policy wants [I30]. Fails with PermissionDenied (INVALID_SIGNATURE) for everything less [a48].
 */
export async function leafKey(presented: PresentedCertificate, trust: Exclude<SigstoreTrust, { kind: 'keys' }>): Promise<KeyObject> {
  const [leaf, ...more] = parsePem(presented.certificate);
  if (leaf === undefined || more.length > 0) throw refused('expected exactly one certificate with the signature');
  const between = [...parsePem(presented.chain), ...(trust.kind === 'pki' ? await certificatesOf(trust.intermediates) : [])];
  const roots = await certificatesOf(trust.kind === 'fulcio' ? trust.ca : trust.roots);
  if (!leaf.keyUsage?.includes(CODE_SIGNING)) throw refused('the certificate is not for signing code');
  if (!leadsToRoot(leaf, between, roots, presented.at, 0)) throw refused('verifying leaf certificate failed: no path to a trusted root');
  if (trust.kind === 'fulcio') checkFulcio(leaf, trust.oidcIssuer, trust.subjectEmail);
  else checkPki(leaf, trust.subjectEmail, trust.subjectHostname);
  return leaf.publicKey;
}

/** Depth first over what was presented: few certificates, and none is used below itself. */
function leadsToRoot(
  certificate: X509Certificate,
  between: readonly X509Certificate[],
  roots: readonly X509Certificate[],
  at: Date,
  depth: number,
): boolean {
  if (!isValid(certificate, at)) return false;
  const mayIssue = (issuer: X509Certificate) => isIssuer(issuer, certificate, depth);
  if (roots.some((root) => isValid(root, at) && mayIssue(root))) return true;
  const rest = (issuer: X509Certificate) => between.filter((other) => other !== issuer);
  return between.some((issuer) => mayIssue(issuer) && leadsToRoot(issuer, rest(issuer), roots, at, depth + 1));
}

/** Within its time, and without a critical extension that nobody here understands (name constraints, say). */
function isValid(certificate: X509Certificate, at: Date): boolean {
  if (at < certificate.validFromDate || at > certificate.validToDate) return false;
  const { extensions } = Parsed.parse(certificate.raw);
  return extensions.every((extension) => {
    const [oid, critical] = extension.subs;
    const isCritical = critical !== undefined && critical.tag.isBoolean() && critical.toBoolean();
    return !isCritical || (oid !== undefined && UNDERSTOOD.has(oid.toOID()));
  });
}

/** `depth`: certificates of authorities that stand below this one already. */
function isIssuer(issuer: X509Certificate, certificate: X509Certificate, depth: number): boolean {
  if (!issuer.ca || !certificate.checkIssued(issuer) || !certificate.verify(issuer.publicKey)) return false;
  const limit = Parsed.parse(issuer.raw).extBasicConstraints?.pathLenConstraint;
  return limit === undefined || BigInt(depth) <= limit;
}

/** Fulcio's certificates say who vouched for the mail address. */
function checkFulcio(leaf: X509Certificate, issuer: string, email: string): void {
  const parsed = Parsed.parse(leaf.raw);
  const old = parsed.extension(OIDC_ISSUER_OLD)?.value.toString('utf8');
  const modern = parsed.extension(OIDC_ISSUER)?.valueObj.subs[0]?.value.toString('utf8');
  if (old !== undefined && modern !== undefined && old !== modern) throw refused('the certificate names two OIDC issuers');
  const said = modern ?? old;
  if (said === undefined) throw refused('Fulcio certificate is missing the issuer extension');
  if (said !== issuer) throw refused(`Unexpected Fulcio OIDC issuer ${JSON.stringify(said.slice(0, 256))}`);
  checkEmail(leaf, email);
}

function checkPki(leaf: X509Certificate, email: string, hostname: string): void {
  if (email !== '') checkEmail(leaf, email);
  if (hostname !== '' && leaf.checkHost(hostname, { subject: 'never' }) === undefined)
    throw refused(`Unexpected subject hostname: the certificate is not for ${JSON.stringify(hostname)}`);
}

/** Letter by letter, in the alternative names only. */
function checkEmail(leaf: X509Certificate, email: string): void {
  const names = (leaf.subjectAltName ?? '').split(', ').flatMap((name) => (name.startsWith('email:') ? [name.slice(6)] : []));
  if (!names.includes(email))
    throw refused(`Required email ${JSON.stringify(email)} not found (got ${JSON.stringify(names).slice(0, 512)})`);
}

async function certificatesOf(source: KeySource | undefined): Promise<readonly X509Certificate[]> {
  if (source === undefined) return [];
  const read = async (path: string) => {
    try {
      return await readFile(path, 'utf8');
    } catch (error) {
      throw wrap(`reading certificates ${path}`, error, 'FailedPrecondition');
    }
  };
  const texts = [...(await Promise.all(source.paths.map(read))), ...source.data.map((data) => data.toString('utf8'))];
  const found = texts.flatMap(parsePem);
  if (found.length === 0) throw new Failure('FailedPrecondition', 'error loading CA certificates: there are none');
  return found;
}

function parsePem(text: string): readonly X509Certificate[] {
  if (text.length > MAX_PEM) throw refused('certificates with the signature are too large');
  const blocks = text.match(/-----BEGIN CERTIFICATE-----[^-]*-----END CERTIFICATE-----/g) ?? [];
  if (blocks.length > MAX_CERTIFICATES) throw refused(`more than ${MAX_CERTIFICATES} certificates`);
  try {
    return blocks.map((block) => new X509Certificate(block));
  } catch (error) {
    throw new Failure('PermissionDenied', `parsing certificate: ${textOf(error)}`, { code: 'INVALID_SIGNATURE', cause: error });
  }
}

function refused(message: string): Failure {
  return new Failure('PermissionDenied', message, { code: 'INVALID_SIGNATURE' });
}

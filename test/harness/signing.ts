import { type KeyObject, createHash, createPrivateKey, generateKeyPairSync, sign } from 'node:crypto';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type RunResult, run, runOk } from '../../src/process/index.ts';
import { newerDebianRoot } from './newer-debian.ts';
import { type Descriptor, OCI, type RegistryStorage } from './registry-storage.ts';
import { toolPath } from './tools.ts';

/** The newer Debian's skopeo, without entering its root: for what Debian 12's cannot do. */
export async function newerSkopeo(args: readonly string[], env: Readonly<Record<string, string>>): Promise<RunResult> {
  const root = await newerDebianRoot();
  const libraries = [`${root}/usr/lib/x86_64-linux-gnu`, `${root}/usr/lib/aarch64-linux-gnu`].join(':');
  const loader =
    process.arch === 'arm64' ? 'usr/lib/aarch64-linux-gnu/ld-linux-aarch64.so.1' : 'usr/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2';
  const program = [`${root}/${loader}`, '--library-path', libraries, `${root}/usr/bin/skopeo`] as const;
  return await run([...program, ...args], { timeoutMs: 60_000, env: { PATH: toolPath, ...env } });
}

/** Keys of people who sign with GnuPG, in a home of their own. */
export class GpgHome {
  readonly dir: string;

  constructor(dir: string) {
    mkdirSync(dir, { recursive: true, mode: 0o700 });
    this.dir = dir;
  }

  get env(): Record<string, string> {
    return { PATH: toolPath, HOME: this.dir, GNUPGHOME: this.dir };
  }

  /** Makes a key, `made` seconds of the epoch ago, good for `days`; answers its fingerprint. */
  async make(name: string, options: { readonly madeAt?: string; readonly expires?: string } = {}): Promise<string> {
    const time = options.madeAt === undefined ? [] : ['--faked-system-time', options.madeAt];
    await this.#gpg(...time, '--quick-gen-key', name, 'ed25519', 'sign', options.expires ?? 'never');
    const listed = (await this.#gpg('--with-colons', '--list-keys', name)).stdout.toString('utf8');
    return /^fpr:+([0-9A-F]{40}):/m.exec(listed)?.[1] ?? '';
  }

  /** Exports the public key into a file. */
  async exported(fingerprint: string, file: string, armored = true): Promise<string> {
    const form = armored ? ['--armor'] : [];
    writeFileSync(file, (await this.#gpg(...form, '--export', fingerprint)).stdout);
    return file;
  }

  /** A signed message as simple signing has it. */
  async sign(fingerprint: string, payload: string, time?: string): Promise<Buffer> {
    const when = time === undefined ? [] : ['--faked-system-time', time];
    return (await runOk(['gpg', ...BATCH, ...when, '--local-user', fingerprint, '--sign'], this.#options(payload))).stdout;
  }

  /** Ends the agent that gpg starts. */
  async end(): Promise<void> {
    await run(['gpgconf', '--kill', 'gpg-agent'], { timeoutMs: 10_000, env: this.env });
  }

  async #gpg(...args: string[]): Promise<RunResult> {
    return await runOk(['gpg', ...BATCH, ...args], this.#options(''));
  }

  #options(stdin: string) {
    return { timeoutMs: 60_000, env: this.env, stdin };
  }
}

const BATCH = ['--batch', '--quiet', '--no-tty', '--pinentry-mode', 'loopback', '--passphrase', ''];

/** A key of a signer or of a log, and its public half as PEM. */
export interface SigningKey {
  readonly key: KeyObject;
  readonly publicPem: string;
}

export function newSigningKey(type: 'ec' | 'ed25519' | 'rsa' = 'ec'): SigningKey {
  const { privateKey, publicKey } =
    type === 'ec'
      ? generateKeyPairSync('ec', { namedCurve: 'prime256v1' })
      : type === 'rsa'
        ? generateKeyPairSync('rsa', { modulusLength: 2048 })
        : generateKeyPairSync('ed25519');
  return { key: privateKey, publicPem: publicKey.export({ type: 'spki', format: 'pem' }).toString() };
}

export function simplePayload(reference: string, digest: string, type = 'atomic container signature'): string {
  const critical = { type, image: { 'docker-manifest-digest': digest }, identity: { 'docker-reference': reference } };
  return JSON.stringify({ critical, optional: { creator: 'test', timestamp: 1767323045 } });
}

export interface SigstoreSignature {
  readonly payload: string;
  readonly annotations: Record<string, string>;
}

/** A signature as cosign and skopeo lay it beside an image. */
export function sigstoreSignature(key: KeyObject, reference: string, digest: string): SigstoreSignature {
  const payload = simplePayload(reference, digest, 'cosign container image signature');
  const algorithm = key.asymmetricKeyType === 'ed25519' ? null : 'sha256';
  return { payload, annotations: { 'dev.cosignproject.cosign/signature': sign(algorithm, Buffer.from(payload), key).toString('base64') } };
}

/** The same, with a log's promise that it has an entry of it. `about` changes the entry, not the signature. */
export function logged(
  signature: SigstoreSignature,
  log: KeyObject,
  signerPem: string,
  about: { readonly payload?: string; readonly signature?: string; readonly time?: number } = {},
): SigstoreSignature {
  const content = about.signature ?? signature.annotations['dev.cosignproject.cosign/signature'];
  const hash = createHash('sha256')
    .update(about.payload ?? signature.payload)
    .digest('hex');
  const spec = {
    data: { hash: { algorithm: 'sha256', value: hash } },
    signature: { content, publicKey: { content: Buffer.from(signerPem).toString('base64') } },
  };
  const body = Buffer.from(JSON.stringify({ apiVersion: '0.0.1', kind: 'hashedrekord', spec })).toString('base64');
  const integratedTime = about.time ?? Math.floor(Date.now() / 1000);
  const Payload = { body, integratedTime, logIndex: 7, logID: 'ab'.repeat(32) };
  const canonical = JSON.stringify({ body, integratedTime, logID: Payload.logID, logIndex: 7 });
  const bundle = { SignedEntryTimestamp: sign('sha256', Buffer.from(canonical), log).toString('base64'), Payload };
  return { ...signature, annotations: { ...signature.annotations, 'dev.sigstore.cosign/bundle': JSON.stringify(bundle) } };
}

/** Lays signatures beside the image with that digest. */
export function attach(storage: RegistryStorage, repository: string, digest: string, signatures: readonly SigstoreSignature[]): void {
  const layers: Descriptor[] = signatures.map(({ payload, annotations }) => ({
    ...storage.putBlob(repository, 'application/vnd.dev.cosign.simplesigning.v1+json', Buffer.from(payload)),
    annotations,
  }));
  const config = storage.putBlob(
    repository,
    OCI.config,
    Buffer.from('{"architecture":"","os":"","rootfs":{"type":"layers","diff_ids":[]}}'),
  );
  const document = { schemaVersion: 2, mediaType: OCI.manifest, config, layers };
  storage.putManifest(repository, OCI.manifest, document, `${digest.replace(':', '-')}.sig`);
}

/** Certificates for signing code: a root, one below it, and leaves. */
export class CodeAuthority {
  readonly dir: string;

  private constructor(dir: string) {
    this.dir = dir;
  }

  static async make(dir: string): Promise<CodeAuthority> {
    mkdirSync(dir, { recursive: true });
    const authority = new CodeAuthority(dir);
    await authority.#issue('root', undefined, 'basicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign\n');
    await authority.#issue('middle', 'root', 'basicConstraints=critical,CA:TRUE,pathlen:0\nkeyUsage=critical,keyCertSign\n');
    return authority;
  }

  path(name: string): string {
    return join(this.dir, `${name}.crt`);
  }

  /** A leaf for a mail address or a host; `more` are lines of its extensions. */
  async leaf(
    name: string,
    subject: string,
    more = 'extendedKeyUsage=codeSigning\n',
    issuer = 'middle',
  ): Promise<{ key: KeyObject; pem: string }> {
    await this.#issue(
      name,
      issuer,
      `basicConstraints=CA:FALSE\nkeyUsage=critical,digitalSignature\nsubjectAltName=critical,${subject}\n${more}`,
    );
    return { key: createPrivateKey(readFileSync(join(this.dir, `${name}.key`))), pem: readFileSync(this.path(name), 'utf8') };
  }

  async #issue(name: string, issuer: string | undefined, extensions: string): Promise<void> {
    const at = (suffix: string, of = name) => join(this.dir, `${of}.${suffix}`);
    writeFileSync(at('ext'), extensions);
    const options = { timeoutMs: 30_000, env: { PATH: toolPath, RANDFILE: '/dev/null' } };
    const fresh = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-keyout', at('key')];
    await runOk(['openssl', 'req', ...fresh, '-out', at('csr'), '-subj', `/CN=${name}`], options);
    const by = issuer === undefined ? ['-signkey', at('key')] : ['-CA', at('crt', issuer), '-CAkey', at('key', issuer), '-CAcreateserial'];
    await runOk(['openssl', 'x509', '-req', '-in', at('csr'), ...by, '-days', '2', '-extfile', at('ext'), '-out', at('crt')], options);
  }
}

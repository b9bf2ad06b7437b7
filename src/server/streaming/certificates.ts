import { X509Certificate } from 'node:crypto';
import { type FSWatcher, watch } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import { type SecureContextOptions, createSecureContext } from 'node:tls';
import { Failure, textOf, wrap } from '../../errors/index.ts';
import type { Logger } from '../../log/index.ts';

export interface TlsSettings {
  readonly certificate: string;
  readonly key: string;
  /** '' : clients show no certificate; else one of these must have signed theirs [E34]. */
  readonly ca: string;
  readonly minVersion: 'TLSv1.2' | 'TLSv1.3';
  /** Suites of TLS 1.2 by their IANA names; none: the default ones [E35]. */
  readonly cipherSuites: readonly string[];
}

/**
 * The streaming server's certificate, key and CA [E34–E36]: read at start, when a set that is no good is fatal, and again whenever
 * something happens in their directories, when it keeps the old one with a warning. Directories and not files are watched, against
 * E37: a file that is replaced, as by a Kubernetes secret, is another file.
 */
export class Certificates {
  readonly #settings: TlsSettings;
  readonly #log: Logger;
  #watchers: FSWatcher[] = [];
  #seen = '';
  #reading: Promise<void> = Promise.resolve();

  constructor(settings: TlsSettings, log: Logger) {
    this.#settings = settings;
    this.#log = log;
  }

  /** Fails with InvalidArgument, naming the file, when the set cannot be served. */
  async load(): Promise<SecureContextOptions> {
    const { certificate, key, ca, minVersion, cipherSuites } = this.#settings;
    const [cert, privateKey, authorities] = await Promise.all([read(certificate), read(key), ca === '' ? undefined : read(ca)]);
    const options: SecureContextOptions = { cert, key: privateKey, minVersion, ...(authorities === undefined ? {} : { ca: authorities }) };
    const ciphers = cipherSuites.map(opensslName);
    const complete = ciphers.length === 0 ? options : { ...options, ciphers: ciphers.join(':') };
    try {
      createSecureContext(complete);
    } catch (error) {
      throw invalid(`load stream server x509 key pair: ${textOf(error)}`, error);
    }
    checkValidity(cert, certificate);
    this.#seen = [cert, privateKey, authorities ?? ''].join('\0');
    return complete;
  }

  /** Calls `use` with each new set that can be served. */
  watch(use: (options: SecureContextOptions) => void): void {
    const { certificate, key, ca } = this.#settings;
    const directories = new Set([certificate, key, ca].filter((path) => path !== '').map(dirname));
    const look = () => {
      this.#reading = this.#reading.then(async () => await this.#reload(use));
    };
    for (const directory of directories) {
      const watcher = watch(directory, { persistent: false }, look);
      watcher.on('error', (error) => this.#log.warn(`Certificates in ${directory} are not watched any more: ${textOf(error)}`));
      this.#watchers.push(watcher);
    }
  }

  close(): void {
    for (const watcher of this.#watchers) watcher.close();
    this.#watchers = [];
  }

  async #reload(use: (options: SecureContextOptions) => void): Promise<void> {
    const before = this.#seen;
    try {
      const options = await this.load();
      if (this.#seen === before) return;
      use(options);
      this.#log.info(`Streaming server: serving the certificate of ${this.#settings.certificate} as it is now`);
    } catch (error) {
      this.#log.warn(`Streaming server: keeping the certificate that is served: ${textOf(error)}`);
    }
  }
}

async function read(path: string): Promise<string> {
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    throw wrap('load stream server x509 key pair', error, 'InvalidArgument');
  }
}

function checkValidity(pem: string, path: string): void {
  if (!pem.includes('-----BEGIN CERTIFICATE-----')) throw invalid(`${path}: certificates chain is empty`);
  const { validFromDate, validToDate } = new X509Certificate(pem);
  if (validToDate.getTime() < Date.now()) throw invalid(`${path}: certificate is not valid any more (since ${validToDate.toISOString()})`);
  if (validFromDate.getTime() > Date.now()) throw invalid(`${path}: certificate is not yet valid (before ${validFromDate.toISOString()})`);
}

function invalid(text: string, cause?: unknown): Failure {
  return new Failure('InvalidArgument', text, {
    cause,
    advice: 'Put a certificate and its key, PEM, where stream_tls_cert and stream_tls_key say; a changed file is taken over at once.',
  });
}

/** `TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256` is `ECDHE-RSA-AES128-GCM-SHA256` for OpenSSL, and those of TLS 1.3 are the same. */
export function opensslName(iana: string): string {
  const [exchange, cipher] = iana.replace(/^TLS_/, '').split('_WITH_');
  if (exchange === undefined || cipher === undefined) return iana;
  const name = cipher
    .replace(/^CHACHA20_POLY1305(_SHA256)?$/, 'CHACHA20-POLY1305')
    .replace(/^3DES_EDE_CBC_SHA$/, 'DES-CBC3-SHA')
    .replace(/^RC4_128_SHA$/, 'RC4-SHA')
    .replace(/^AES_(\d+)_CBC_/, 'AES$1_')
    .replace(/^AES_(\d+)_/, 'AES$1_')
    .replaceAll('_', '-');
  return exchange === 'RSA' ? name : `${exchange.replaceAll('_', '-')}-${name}`;
}

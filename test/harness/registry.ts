import { type ChildProcess, type StdioOptions, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type ImageName, imageStorage } from './images.ts';
import { toolPath, unpackedTool } from './tools.ts';

export interface RegistryOptions {
  /** Images of the harness to serve, read-only. */
  readonly images?: readonly ImageName[];
  /** A storage directory of the test's own instead. */
  readonly storage?: string;
  /** Where to listen; port 0 (the default) takes a free one. */
  readonly address?: string;
  /** PEM files. */
  readonly tls?: { readonly certificate: string; readonly key: string };
  readonly auth?: BasicAuth | TokenAuth;
  /** Starts the program elsewhere, on a machine of the harness for instance. */
  readonly spawn?: (argv: readonly string[], stdio: StdioOptions, env: Readonly<Record<string, string>>) => ChildProcess;
}

export interface BasicAuth {
  readonly kind: 'basic';
  /** Path of an htpasswd file with bcrypt hashes. */
  readonly htpasswd: string;
}

export interface TokenAuth {
  readonly kind: 'token';
  readonly realm: string;
  readonly service: string;
  readonly issuer: string;
  /** PEM file of certificates that sign tokens. */
  readonly rootCertificates: string;
}

export interface RunningRegistry {
  /** `127.0.0.1:PORT`: what goes before a repository's name. */
  readonly host: string;
  /** The access log so far: a line a request, in Apache's combined format. */
  log(): string;
  stop(): Promise<void>;
}

/** Starts Debian's docker-registry and waits until it listens. */
export async function startRegistry(options: RegistryOptions): Promise<RunningRegistry> {
  const storage = options.storage ?? (await imageStorage(options.images ?? []));
  const dir = mkdtempSync(join(tmpdir(), 'crio-registry-'));
  const configuration = join(dir, 'config.yml');
  writeFileSync(configuration, JSON.stringify(configurationOf(options, storage))); // JSON is YAML.
  const start = options.spawn ?? ((argv, stdio, env) => spawn(argv[0] ?? '', argv.slice(1), { stdio, env: { PATH: toolPath, ...env } }));
  const child = start([unpackedTool('usr/bin/docker-registry'), 'serve', configuration], ['ignore', 'pipe', 'pipe'], {
    OTEL_TRACES_EXPORTER: 'none',
  });
  let log = '';
  const listening = Promise.withResolvers<string>();
  const read = (chunk: Buffer) => {
    log += chunk.toString('utf8');
    const port = /listening on [^"\s]*:(\d+)/.exec(log)?.[1];
    if (port !== undefined) listening.resolve(port);
  };
  child.stdout?.on('data', read);
  child.stderr?.on('data', read);
  const exited = once(child, 'exit');
  void exited.then(() => listening.reject(new Error(`the registry ended:\n${log}`)));
  child.once('error', (error) => listening.reject(error));
  // Once it listens it has read its configuration.
  const port = await listening.promise.finally(() => rmSync(dir, { recursive: true, force: true }));
  return {
    host: `127.0.0.1:${port}`,
    log: () => log,
    stop: async () => {
      if (child.exitCode === null && child.signalCode === null) child.kill('SIGTERM');
      await exited;
    },
  };
}

function configurationOf(options: RegistryOptions, storage: string): object {
  const { auth, tls } = options;
  return {
    version: 0.1,
    log: { level: 'info', accesslog: { disabled: false } },
    storage: {
      filesystem: { rootdirectory: storage },
      ...(options.storage === undefined ? { maintenance: { readonly: { enabled: true } } } : {}),
    },
    http: {
      addr: options.address ?? '127.0.0.1:0',
      secret: 'none',
      ...(tls === undefined ? {} : { tls: { certificate: tls.certificate, key: tls.key } }),
    },
    compatibility: { schema1: { enabled: true } },
    ...(auth === undefined ? {} : { auth: authOf(auth) }),
  };
}

function authOf(auth: BasicAuth | TokenAuth): object {
  if (auth.kind === 'basic') return { htpasswd: { realm: 'test', path: auth.htpasswd } };
  const { realm, service, issuer, rootCertificates } = auth;
  return { token: { realm, service, issuer, rootcertbundle: rootCertificates } };
}

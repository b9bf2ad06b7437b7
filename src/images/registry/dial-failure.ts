import { Failure } from '../../errors/index.ts';

interface DialError extends Error {
  readonly code?: string | undefined;
  readonly address?: string;
  readonly port?: number;
  readonly hostname?: string;
  readonly syscall?: string;
}

const ERRNO_TEXTS: Readonly<Record<string, string>> = {
  ECONNREFUSED: 'connection refused',
  ECONNRESET: 'connection reset by peer',
  EHOSTUNREACH: 'no route to host',
  ENETUNREACH: 'network is unreachable',
  ETIMEDOUT: 'i/o timeout',
  EPIPE: 'broken pipe',
};

const UNTRUSTED: ReadonlySet<string> = new Set([
  'UNABLE_TO_VERIFY_LEAF_SIGNATURE',
  'SELF_SIGNED_CERT_IN_CHAIN',
  'DEPTH_ZERO_SELF_SIGNED_CERT',
  'UNABLE_TO_GET_ISSUER_CERT',
  'UNABLE_TO_GET_ISSUER_CERT_LOCALLY',
]);

/**
 * What went wrong on the way to a server, in the words that operators know from Go's HTTP client:
 * `Get "https://host/…": dial tcp 127.0.0.1:5000: connect: connection refused`. `code` is Node's.
 */
export function dialFailure(error: Error, url: URL, method: string): Failure {
  const first: DialError = error instanceof AggregateError && error.errors[0] instanceof Error ? error.errors[0] : error;
  const code = first.code ?? ('code' in error && typeof error.code === 'string' ? error.code : undefined);
  const verb = method === 'POST' ? 'Post' : 'Get';
  return new Failure('Unavailable', `${verb} "${shownUrl(url)}": ${reason(first, code, url)}`, {
    cause: error,
    ...(code === undefined ? {} : { code }),
    advice: advice(code, url),
  });
}

/** Without what gives access: names and passwords, and queries, which sign what storage behind a registry hands out [a46]. */
export function shownUrl(url: URL): string {
  return `${url.origin}${url.pathname}${url.search === '' ? '' : '?…'}`;
}

function reason(error: DialError, code: string | undefined, url: URL): string {
  const where =
    error.address === undefined ? url.host : `${error.address.includes(':') ? `[${error.address}]` : error.address}:${error.port}`;
  if (code === 'ENOTFOUND' || code === 'EAI_AGAIN') {
    const why = code === 'ENOTFOUND' ? 'no such host' : 'temporary failure in name resolution';
    return `dial tcp: lookup ${error.hostname ?? url.hostname}: ${why}`;
  }
  if (code === 'ECONNRESET' || code === 'EPIPE') return `${code === 'EPIPE' ? 'write' : 'read'} tcp ${where}: ${ERRNO_TEXTS[code]}`;
  const text = code === undefined ? undefined : ERRNO_TEXTS[code];
  if (text !== undefined)
    return `dial tcp ${where}: connect: ${text}${code === 'ETIMEDOUT' && error.message !== '' ? ` (${error.message})` : ''}`;
  if (code === 'ERR_SSL_WRONG_VERSION_NUMBER' || code === 'ERR_SSL_PACKET_LENGTH_TOO_LONG' || code === 'EPROTO')
    return 'http: server gave HTTP response to HTTPS client';
  if (code !== undefined && UNTRUSTED.has(code)) return 'tls: failed to verify certificate: x509: certificate signed by unknown authority';
  if (code === 'CERT_HAS_EXPIRED') return 'tls: failed to verify certificate: x509: certificate has expired or is not yet valid';
  if (code === 'ERR_TLS_CERT_ALTNAME_INVALID') return `tls: failed to verify certificate: x509: ${error.message}`;
  return error.message;
}

function advice(code: string | undefined, url: URL): string {
  if (code !== undefined && UNTRUSTED.has(code)) return `Put the registry's CA into /etc/containers/certs.d/${url.host}/ca.crt.`;
  if (code === 'ENOTFOUND' || code === 'EAI_AGAIN') return `Check that this node can resolve ${url.hostname}.`;
  if (code === 'ERR_SSL_WRONG_VERSION_NUMBER' || code === 'EPROTO')
    return `${url.host} speaks plain HTTP: set insecure = true for it in registries.conf if that is meant.`;
  return `Check that ${url.host} can be reached from this node, and the proxy settings of the daemon.`;
}

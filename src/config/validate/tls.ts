import type { ApiConfig } from '../schema/index.ts';
import { type Message, invalid } from './check.ts';

const VERSIONS = ['', 'VersionTLS10', 'VersionTLS11', 'VersionTLS12', 'VersionTLS13'];

/** IANA names that `tls_cipher_suites` may hold [B33]: those of TLS 1.3, those with and those without forward secrecy. */
const SUITES: ReadonlySet<string> = new Set([
  ...['AES_128_GCM_SHA256', 'AES_256_GCM_SHA384', 'CHACHA20_POLY1305_SHA256'].map((name) => `TLS_${name}`),
  ...['ECDHE_ECDSA', 'ECDHE_RSA'].flatMap((exchange) =>
    [
      'AES_128_CBC_SHA',
      'AES_256_CBC_SHA',
      'AES_128_CBC_SHA256',
      'AES_128_GCM_SHA256',
      'AES_256_GCM_SHA384',
      'CHACHA20_POLY1305_SHA256',
      'CHACHA20_POLY1305',
      'RC4_128_SHA',
    ].map((cipher) => `TLS_${exchange}_WITH_${cipher}`),
  ),
  'TLS_ECDHE_RSA_WITH_3DES_EDE_CBC_SHA',
  ...[
    'AES_128_CBC_SHA',
    'AES_256_CBC_SHA',
    'AES_128_CBC_SHA256',
    'AES_128_GCM_SHA256',
    'AES_256_GCM_SHA384',
    'RC4_128_SHA',
    '3DES_EDE_CBC_SHA',
  ].map((cipher) => `TLS_RSA_WITH_${cipher}`),
]);

/** [B28, B32, B33] */
export function checkTls(api: ApiConfig, messages: Message[]): void {
  if (api.streamEnableTls && api.streamTlsCert === '') throw invalid('stream TLS cert path is empty', 'Set stream_tls_cert.');
  if (api.streamEnableTls && api.streamTlsKey === '') throw invalid('stream TLS key path is empty', 'Set stream_tls_key.');
  const version = api.tlsMinVersion;
  const advice = 'Set tls_min_version to "VersionTLS12" or "VersionTLS13".';
  if (!VERSIONS.includes(version)) throw invalid(`validating tls_min_version: unknown tls version "${version}"`, advice);
  if (['VersionTLS10', 'VersionTLS11'].includes(version)) {
    throw invalid('tls_min_version must be VersionTLS12 or VersionTLS13, got unsupported version', advice);
  }
  if (api.tlsCipherSuites.length === 0) return;
  if (version === 'VersionTLS13') {
    messages.push({
      level: 'warning',
      text: 'tls_cipher_suites is ignored when tls_min_version is VersionTLS13: TLS 1.3 has suites of its own',
    });
    return;
  }
  const unknown = api.tlsCipherSuites.find((suite) => !SUITES.has(suite));
  if (unknown === undefined) return;
  throw invalid(
    `validating tls_cipher_suites: Cipher suite ${unknown} not supported or doesn't exist`,
    'Write IANA names, for example TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256.',
  );
}

import { type Rows, type ValuesOf, bool, int, list, table, text } from './row.ts';

/** 80 MiB: what CRI-O allows for one message [B34, B35]. */
export const DEFAULT_MESSAGE_SIZE = 80 * 1024 * 1024;

/** `[crio.api]`: the socket of the kubelet and the streaming server [B25–B36]. */
export const apiTable = table('crio.api', 'The socket that the kubelet talks to, and the server for exec, attach and port forwarding.', {
  grpc_max_send_msg_size: int(DEFAULT_MESSAGE_SIZE, 'Largest answer in bytes. Zero or less: the default.', {
    flag: 'grpc-max-send-msg-size',
    env: 'CONTAINER_GRPC_MAX_SEND_MSG_SIZE',
    honoured: true,
  }),
  grpc_max_recv_msg_size: int(DEFAULT_MESSAGE_SIZE, 'Largest request in bytes. Zero or less: the default.', {
    flag: 'grpc-max-recv-msg-size',
    env: 'CONTAINER_GRPC_MAX_RECV_MSG_SIZE',
    honoured: true,
  }),
  listen: text('/var/run/crio/crio.sock', 'Path of the unix socket.', { flag: 'listen', env: 'CONTAINER_LISTEN', honoured: true }),
  stream_address: text('127.0.0.1', 'IP address that the streaming server binds to. Empty: all addresses.', {
    flag: 'stream-address',
    env: 'CONTAINER_STREAM_ADDRESS',
    honoured: true,
  }),
  stream_port: text('0', 'Port or service name of the streaming server. 0: any free port.', {
    flag: 'stream-port',
    env: 'CONTAINER_STREAM_PORT',
    honoured: true,
  }),
  stream_enable_tls: bool(false, 'TLS for the streaming server; needs a certificate and a key.', {
    flag: 'stream-enable-tls',
    env: 'CONTAINER_ENABLE_TLS',
    honoured: true,
  }),
  stream_tls_cert: text('', 'Certificate of the streaming server, PEM. A changed file is taken over at once.', {
    flag: 'stream-tls-cert',
    env: 'CONTAINER_TLS_CERT',
    honoured: true,
  }),
  stream_tls_key: text('', 'Private key of the streaming server, PEM. A changed file is taken over at once.', {
    flag: 'stream-tls-key',
    env: 'CONTAINER_TLS_KEY',
    honoured: true,
  }),
  stream_tls_ca: text('', 'Certificates, PEM, of which one must have signed that of a streaming client. Empty: clients show none.', {
    flag: 'stream-tls-ca',
    env: 'CONTAINER_TLS_CA',
    honoured: true,
  }),
  stream_idle_timeout: text('', 'Streams end after this time without data, such as "1h". Empty: four hours.', {
    flag: 'stream-idle-timeout',
    env: 'STREAM_IDLE_TIMEOUT',
    honoured: true,
  }),
  tls_min_version: text('VersionTLS12', 'Oldest TLS version of the streaming and metrics servers: VersionTLS12 or VersionTLS13.', {
    flag: 'tls-min-version',
    env: 'CONTAINER_TLS_MIN_VERSION',
    honoured: true,
  }),
  tls_cipher_suites: list([], 'Cipher suites for TLS 1.2 by their IANA names. Empty: the default ones.', {
    flag: 'tls-cipher-suites',
    env: 'CONTAINER_TLS_CIPHER_SUITES',
    honoured: true,
  }),
} satisfies Rows);

export type ApiConfig = ValuesOf<(typeof apiTable)['rows']>;

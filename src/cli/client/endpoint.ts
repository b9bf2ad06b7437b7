import { Failure } from '../../errors/index.ts';

/** Where the daemon listens unless told otherwise [B25]. */
const DEFAULT_SOCKET = '/var/run/crio/crio.sock';
/** Size of sockaddr_un.sun_path with its final NUL. */
const SUN_PATH = 108;

/** Every client command takes it. */
export const socketOption = {
  socket: {
    type: 'string',
    short: 's',
    value: 'PATH',
    help: `CRI socket to talk to (default: $CONTAINER_RUNTIME_ENDPOINT or ${DEFAULT_SOCKET}).`,
  },
} as const;

/**
 * The path of the socket: the option, else CONTAINER_RUNTIME_ENDPOINT (crictl's variable), else the default. Paths and
 * `unix://` URLs are understood; Failure with code `usage` for anything else.
 */
export function socketPath(option: string | undefined, env: Readonly<Record<string, string | undefined>>): string {
  const text = option ?? (env['CONTAINER_RUNTIME_ENDPOINT'] || DEFAULT_SOCKET);
  const path = text.replace(/^unix:(?:\/\/)?(?=\/)/, '');
  if (!path.startsWith('/')) {
    throw new Failure('InvalidArgument', `not a unix socket: "${text}"`, {
      code: 'usage',
      advice: 'Give an absolute path or unix:///PATH.',
    });
  }
  if (Buffer.byteLength(path) >= SUN_PATH) {
    throw new Failure('InvalidArgument', `unix socket path "${path}" is too long`, {
      code: 'usage',
      advice: `${SUN_PATH - 1} bytes are allowed.`,
    });
  }
  return path;
}

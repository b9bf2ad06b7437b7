import { lastError, libc } from './libc.ts';

const socketFn = libc.func('int socket(int, int, int)');
const sendtoFn = libc.func('long sendto(int, const uint8_t *, size_t, int, const uint8_t *, unsigned int)');
const closeFn = libc.func('int close(int)');
const AF_UNIX = 1;
const SOCK_DGRAM_CLOEXEC = 2 | 0o2000000;

/** Sends one datagram to a unix socket, as sd_notify does; a leading `@` is the abstract namespace. Node has no such sockets. */
export function sendUnixDatagram(path: string, text: string): void {
  const name = Buffer.from(path.startsWith('@') ? `\0${path.slice(1)}` : path);
  const address = Buffer.alloc(2 + name.length);
  address.writeUInt16LE(AF_UNIX, 0);
  name.copy(address, 2);
  const fd = Number(socketFn(AF_UNIX, SOCK_DGRAM_CLOEXEC, 0));
  if (fd < 0) throw lastError('socket', 'AF_UNIX');
  try {
    const data = Buffer.from(text);
    if (Number(sendtoFn(fd, data, data.length, 0, address, address.length)) < 0) throw lastError('sendto', path);
  } finally {
    closeFn(fd);
  }
}

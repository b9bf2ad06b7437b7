import type { Socket } from 'node:net';
import { OwnedFd } from './fd.ts';
import { lastError, libc } from './libc.ts';
import { streamOf } from './stream.ts';

const socketFn = libc.func('int socket(int, int, int)');
const connectFn = libc.func('int connect(int, const uint8_t *, unsigned int)');
const AF_UNIX = 1;
const SOCK_SEQPACKET_NONBLOCK_CLOEXEC = 5 | 0o4000 | 0o2000000;

/**
 * Connects to a unix socket of packets: each chunk that is read is one, each write makes one. Node has no such sockets. Fails with the
 * errno's name as code, EAGAIN while the listener's queue is full; never blocks.
 */
export function connectSeqpacket(path: string): Socket {
  const name = Buffer.from(path);
  const address = Buffer.alloc(2 + name.length + 1);
  address.writeUInt16LE(AF_UNIX, 0);
  name.copy(address, 2);
  const fd = Number(socketFn(AF_UNIX, SOCK_SEQPACKET_NONBLOCK_CLOEXEC, 0));
  if (fd < 0) throw lastError('socket', 'AF_UNIX');
  using owned = new OwnedFd(fd);
  if (Number(connectFn(fd, address, address.length)) !== 0) throw lastError('connect', path);
  return streamOf(owned.take());
}

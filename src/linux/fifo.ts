import { lastError, libc } from './libc.ts';

const ioctl = libc.func('int ioctl(int, unsigned long, void *)');
const FIONREAD = 0x541b;

/** Bytes that wait in a pipe, terminal or socket to be read; of a pipe also asked at the end that writes. */
export function bytesWaiting(fd: number): number {
  const count = Buffer.alloc(4);
  if (Number(ioctl(fd, FIONREAD, count)) !== 0) throw lastError('ioctl FIONREAD', `file descriptor ${fd}`);
  return count.readInt32LE(0);
}

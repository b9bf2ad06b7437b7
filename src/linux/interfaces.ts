import { lastError, libc } from './libc.ts';

const socketFn = libc.func('int socket(int, int, int)');
const ioctlFn = libc.func('int ioctl(int, unsigned long, void *)');
const closeFn = libc.func('int close(int)');

const SIOCGIFFLAGS = 0x8913;
const SIOCSIFFLAGS = 0x8914;
const IFF_UP = 1;

/** Brings an interface of the calling thread's network namespace up (netdevice(7)). */
export function setInterfaceUp(name: string): void {
  const fd = Number(socketFn(2 /* AF_INET */, 2 | 0o2000000 /* SOCK_DGRAM | SOCK_CLOEXEC */, 0));
  if (fd < 0) throw lastError('socket', 'AF_INET');
  try {
    const request = Buffer.alloc(40); // struct ifreq: char ifr_name[16]; short ifr_flags; …
    request.write(name, 0, 15, 'latin1');
    if (ioctlFn(fd, SIOCGIFFLAGS, request) !== 0) throw lastError('ioctl SIOCGIFFLAGS', name);
    request.writeInt16LE(request.readInt16LE(16) | IFF_UP, 16);
    if (ioctlFn(fd, SIOCSIFFLAGS, request) !== 0) throw lastError('ioctl SIOCSIFFLAGS', name);
  } finally {
    closeFn(fd);
  }
}

import { OwnedFd } from './fd.ts';
import { lastError, libc } from './libc.ts';

const posixOpenpt = libc.func('int posix_openpt(int)');
const grantpt = libc.func('int grantpt(int)');
const unlockpt = libc.func('int unlockpt(int)');
const ptsname = libc.func('int ptsname_r(int, void *, size_t)');
const ioctl = libc.func('int ioctl(int, unsigned long, void *)');

const tcgetattr = libc.func('int tcgetattr(int, void *)');
const tcsetattr = libc.func('int tcsetattr(int, int, void *)');

const O_RDWR_NOCTTY_CLOEXEC = 0o2 | 0o400 | 0o2000000;
const TIOCSWINSZ = 0x5414;
const PATH_SIZE = 128;

export interface TerminalSize {
  readonly width: number;
  readonly height: number;
}

export interface Pty {
  /** Ours; when it closes, who has the terminal is hung up. */
  readonly master: OwnedFd;
  /** What a child opens as its terminal. */
  readonly path: string;
}

/**
 * A new pseudo terminal of this mount namespace's devpts (pty(7)). It hands on what is typed as it is, without an echo: whoever
 * gets it has a terminal of its own behind it, and what is typed before that is ready must not be handled twice.
 */
export function openPty(): Pty {
  const fd = Number(posixOpenpt(O_RDWR_NOCTTY_CLOEXEC));
  if (fd < 0) throw lastError('open', '/dev/ptmx');
  const master = new OwnedFd(fd);
  try {
    if (Number(grantpt(fd)) !== 0) throw lastError('grantpt', '/dev/ptmx');
    if (Number(unlockpt(fd)) !== 0) throw lastError('unlockpt', '/dev/ptmx');
    passInputThrough(fd);
    const name = Buffer.alloc(PATH_SIZE);
    if (Number(ptsname(fd, name, name.length)) !== 0) throw lastError('ptsname', '/dev/ptmx');
    return { master, path: name.toString('latin1', 0, name.indexOf(0)) };
  } catch (error) {
    master[Symbol.dispose]();
    throw error;
  }
}

/** struct termios: flags for input, output, control and local modes, the line, and characters; VTIME and VMIN are the fifth and sixth. */
const TERMIOS = { size: 64, input: 0, local: 12, time: 17 + 5, least: 17 + 6 } as const;

/** Output stays as it is: the complaint of a program that could not be started has lines. */
function passInputThrough(fd: number): void {
  const modes = Buffer.alloc(TERMIOS.size);
  if (Number(tcgetattr(fd, modes)) !== 0) throw lastError('tcgetattr', '/dev/ptmx');
  modes.writeUInt32LE(0, TERMIOS.input);
  modes.writeUInt32LE(0, TERMIOS.local);
  modes.writeUInt8(0, TERMIOS.time);
  modes.writeUInt8(1, TERMIOS.least);
  if (Number(tcsetattr(fd, 0, modes)) !== 0) throw lastError('tcsetattr', '/dev/ptmx');
}

/** Sizes the terminal; its foreground processes get SIGWINCH. Sides over 65535 are cut. */
export function setTerminalSize(fd: number, { width, height }: TerminalSize): void {
  const size = Buffer.alloc(8); // struct winsize: rows, columns, two unused
  size.writeUInt16LE(Math.min(height, 0xffff), 0);
  size.writeUInt16LE(Math.min(width, 0xffff), 2);
  if (Number(ioctl(fd, TIOCSWINSZ, size)) !== 0) throw lastError('ioctl TIOCSWINSZ', `file descriptor ${fd}`);
}

import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** The project's own folder. */
export const projectRoot = fileURLToPath(new URL('../..', import.meta.url)).replace(/\/$/, '');

/** Where scripts/install.sh unpacks and tests cache what is dear to make; survives test runs. */
export const cacheDir = process.env['CRIO_TEST_CACHE'] ?? '/var/cache/crio-ts-test';

/** Where machines live while a test runs: a real file system, since overlayfs takes no other as upper directory. */
export const machinesDir = process.env['CRIO_TEST_DIR'] ?? '/var/tmp/crio-ts-test';

/** A file of the unpacked Debian packages (docker-registry, tini, busybox, containerd), `usr/bin/tini`. */
export function unpackedTool(path: string): string {
  return join(cacheDir, 'tools', path);
}

/** Where those programs are. */
export const unpackedDirs = [unpackedTool('usr/bin'), unpackedTool('bin')];

/** PATH for programs of tests: the machine's own first, then what is unpacked. */
export const toolPath = ['/usr/local/sbin', '/usr/local/bin', '/usr/sbin', '/usr/bin', '/sbin', '/bin', ...unpackedDirs].join(':');

/** The program under test: the checkout's, unless an installed one is to be tested. */
export const crioProgram = process.env['CRIO_TEST_PROGRAM'] ?? join(projectRoot, 'bin/crio');

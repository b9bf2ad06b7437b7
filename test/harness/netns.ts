import { execFileSync } from 'node:child_process';

/**
 * Makes the test file that calls it run in network and mount namespaces of its own: the process starts itself again
 * under `unshare`, once. Whatever the file does to interfaces, nftables or mounts dies with it. Needs root.
 */
export function inPrivateNetwork(file: string): void {
  if (process.env['CRIO_TEST_PRIVATE'] !== file) {
    const own = [process.execPath, ...process.execArgv, file];
    process.execve?.('/usr/bin/unshare', ['unshare', '--net', '--mount', '--propagation', 'private', '--', ...own], {
      ...process.env,
      CRIO_TEST_PRIVATE: file,
    });
    throw new Error('process.execve is missing');
  }
  execFileSync('ip', ['link', 'set', 'lo', 'up']);
}

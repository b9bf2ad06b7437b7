import { once } from 'node:events';
import { Failure } from '../errors/index.ts';
import { sysctlFailure, sysctlPath } from '../linux/index.ts';
import { type Child, launch } from './launch.ts';
import { run } from './run.ts';

/** It does nothing but start: a node on which that takes longer makes no pods either. */
const START_TIMEOUT_MS = 10_000;

export interface NamespaceHolder {
  readonly pid: number;
  /** Ends the process; namespaces that are pinned by then stay. It ends by itself when this process does. */
  end(): Promise<void>;
}

/**
 * A process in a new user namespace without maps, and in new namespaces that this one owns: they are the caller's to map and to
 * pin. A process with threads cannot unshare a user namespace, so util-linux's `unshare` does. Fails with FailedPrecondition
 * and the kernel's own word where the node allows no user namespaces [p49].
 */
export async function holdUserNamespace(kinds: readonly ('ipc' | 'net' | 'uts')[]): Promise<NamespaceHolder> {
  const options = kinds.map((kind) => `--${kind}`);
  const holder = launch(['unshare', '--user', ...options, '--', 'cat'], {
    env: { PATH: process.env['PATH'] ?? '', LC_ALL: 'C' },
    stdin: 'pipe',
  });
  let complaint = '';
  holder.stderr.setEncoding('utf8').on('data', (chunk: string) => (complaint += chunk.slice(0, 1024)));
  try {
    holder.stdin?.write('\n'); // `cat` runs in the new namespaces: its answer says that they are there.
    const timer = AbortSignal.timeout(START_TIMEOUT_MS);
    const ended = await Promise.race([once(holder.stdout, 'data', { signal: timer }).then(() => undefined), holder.exited]);
    if (ended !== undefined) throw refusal(complaint.trim() || `unshare ended with ${ended.signal ?? ended.code}`);
    return { pid: holder.pid, end: () => end(holder) };
  } catch (error) {
    await end(holder);
    if (error instanceof Failure) throw error;
    throw new Failure('DeadlineExceeded', `making a user namespace took longer than ${START_TIMEOUT_MS} ms`, { cause: error });
  }
}

const WRITE_SYSCTLS = `
while [ $# -gt 0 ]; do
  printf %s "$3" > "$2" || { printf %s "$1"; exit 1; }
  shift 3
done`;

/**
 * Writes sysctls as root of a process' user namespace, in its namespaces of these kinds: the kernel lets nobody else set those of an
 * ipc namespace, and reads a range of groups as the writer's ids. Fails with InvalidArgument at the first that cannot be set.
 */
export async function writeSysctlsInside(
  pid: number,
  kinds: readonly ('ipc' | 'net' | 'uts')[],
  sysctls: readonly (readonly [key: string, value: string])[],
): Promise<void> {
  if (sysctls.length === 0) return;
  const enter = ['-t', String(pid), '--user', ...kinds.map((kind) => `--${kind}`), '-S', '0', '-G', '0'];
  const words = sysctls.flatMap(([key, value]) => [key, sysctlPath(key), value]);
  const result = await run(['nsenter', ...enter, '--', 'sh', '-c', WRITE_SYSCTLS, 'sh', ...words], {
    timeoutMs: START_TIMEOUT_MS,
    env: { PATH: process.env['PATH'] ?? '', LC_ALL: 'C' },
  });
  if (result.code === 0) return;
  const failed = result.stdout.toString('utf8');
  throw sysctlFailure(failed, new Map(sysctls).get(failed) ?? '', result.stderr.trim() || `exit status ${result.code}`);
}

async function end(holder: Child): Promise<void> {
  holder.kill('SIGKILL');
  await holder.exited;
  holder.stdin?.destroy();
  holder.stdout.destroy();
  holder.stderr.destroy();
}

/** `unshare: unshare failed: No space left on device` is how the kernel says that its limit is zero. */
function refusal(complaint: string): Failure {
  return new Failure('FailedPrecondition', `the kernel makes no user namespace: ${complaint}`, {
    advice:
      'Pods with a user namespace need a kernel with CONFIG_USER_NS and a limit above zero: look at user.max_user_namespaces (sysctl) and at security modules that forbid user namespaces.',
  });
}

import { closeSync, openSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parentPort } from 'node:worker_threads';
import { Failure, codeOf, kindOf, textOf } from '../errors/index.ts';
import { setInterfaceUp } from './interfaces.ts';
import { lastError, libc } from './libc.ts';
import { MS, mount, unmountIfMounted } from './mount.ts';
import { NAMESPACE_KINDS, type NamespaceKind, type NamespaceReply, type NamespaceRequest } from './namespaces.ts';

/** Only synchronous calls in this file: see NamespaceMaker. */
const CLONE = { ipc: 0x08000000, net: 0x40000000, uts: 0x04000000 } as const satisfies Record<NamespaceKind, number>;
const unshare = libc.func('int unshare(int)');
const setns = libc.func('int setns(int, int)');

const home = new Map(NAMESPACE_KINDS.map((kind) => [kind, openSync(`/proc/thread-self/ns/${kind}`, 'r')]));

parentPort?.on('message', (request: NamespaceRequest & { readonly id: number }) => {
  const reply = (answer: NamespaceReply) => parentPort?.postMessage(answer);
  const pinned: string[] = [];
  try {
    for (const kind of request.host) pin(kind, request.pins[kind], pinned);
    const fresh = NAMESPACE_KINDS.filter((kind) => !request.host.includes(kind));
    if (fresh.length > 0) makeFresh(fresh, request, pinned);
    reply({ id: request.id });
  } catch (error) {
    for (const path of pinned) {
      unmountIfMounted(path);
      rmSync(path, { force: true });
    }
    reply({ id: request.id, failure: { kind: kindOf(error), message: textOf(error), code: codeOf(error) } });
  }
});

function makeFresh(kinds: readonly NamespaceKind[], request: NamespaceRequest, pinned: string[]): void {
  const flags = kinds.reduce((sum, kind) => sum | CLONE[kind], 0);
  if (unshare(flags) !== 0) throw lastError('unshare', kinds.join(','));
  try {
    for (const kind of kinds) pin(kind, request.pins[kind], pinned);
    if (kinds.includes('net')) setInterfaceUp('lo');
    for (const [key, value] of request.sysctls) writeSysctl(key, value);
  } finally {
    returnHome(kinds);
  }
}

function pin(kind: NamespaceKind, path: string, pinned: string[]): void {
  closeSync(openSync(path, 'wx', 0o600));
  pinned.push(path);
  mount(`/proc/thread-self/ns/${kind}`, path, 'none', MS.BIND);
}

function writeSysctl(key: string, value: string): void {
  // sysctl(8): if a slash comes first in the key, slashes separate and dots are literal; else the other way round.
  const path =
    key.includes('/') && !(key.indexOf('.') >= 0 && key.indexOf('.') < key.indexOf('/'))
      ? key
      : key.replaceAll(/[./]/g, (c) => (c === '.' ? '/' : '.'));
  if (path.split('/').some((part) => part === '..' || part === '')) throw new Failure('InvalidArgument', `invalid sysctl name "${key}"`);
  try {
    writeFileSync(join('/proc/sys', path), value);
  } catch (error) {
    throw new Failure('InvalidArgument', `failed to write sysctl "${key}" = "${value}": ${textOf(error)}`, { cause: error });
  }
}

/** A thread that cannot return must not be used again: the error ends it. */
function returnHome(kinds: readonly NamespaceKind[]): void {
  for (const kind of kinds) {
    if (setns(home.get(kind) ?? -1, CLONE[kind]) !== 0) {
      const error = lastError('setns', `back to the host's ${kind} namespace`);
      queueMicrotask(() => process.exit(1));
      throw error;
    }
  }
}

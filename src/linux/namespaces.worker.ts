import { closeSync, fchownSync, openSync, rmSync, writeFileSync } from 'node:fs';
import { parentPort } from 'node:worker_threads';
import { Failure, codeOf, kindOf, textOf } from '../errors/index.ts';
import { setInterfaceUp } from './interfaces.ts';
import { lastError, libc } from './libc.ts';
import { MS, mount, unmountIfMounted } from './mount.ts';
import {
  NAMESPACE_KINDS,
  type NamespaceKind,
  type NamespaceReply,
  type NamespaceRequest,
  type NamespaceWork,
  type SocketRequest,
  type UserNamespaceRequest,
} from './namespaces.ts';
import { sysctlFailure, sysctlPath } from './sysctl.ts';

/** Only synchronous calls in this file: see NamespaceMaker. */
const CLONE = { ipc: 0x08000000, net: 0x40000000, uts: 0x04000000 } as const satisfies Record<NamespaceKind, number>;
const unshare = libc.func('int unshare(int)');
const setns = libc.func('int setns(int, int)');
const socketFn = libc.func('int socket(int, int, int)');

const home = new Map(NAMESPACE_KINDS.map((kind) => [kind, openSync(`/proc/thread-self/ns/${kind}`, 'r')]));

parentPort?.on('message', (work: NamespaceWork) => {
  const reply = (answer: Omit<NamespaceReply, 'id'>) => parentPort?.postMessage({ id: work.id, ...answer });
  try {
    if (work.kind === 'socket') reply({ fd: socketIn(work.request) });
    else {
      create(work.request);
      reply({});
    }
  } catch (error) {
    reply({ failure: { kind: kindOf(error), message: textOf(error), code: codeOf(error) } });
  }
});

function create(request: NamespaceRequest): void {
  const pinned: string[] = [];
  try {
    if (request.user !== undefined) pinUserNamespace(request.user, pinned);
    for (const kind of request.host) pin(kind, request, pinned);
    const fresh = NAMESPACE_KINDS.filter((kind) => !request.host.includes(kind));
    if (fresh.length > 0) makeFresh(fresh, request, pinned);
  } catch (error) {
    for (const path of pinned) {
      unmountIfMounted(path);
      rmSync(path, { force: true });
    }
    throw error;
  }
}

const FAMILY = { 4: 2, 6: 10 } as const;
const SOCK_STREAM_NONBLOCK_CLOEXEC = 1 | 0o4000 | 0o2000000;

function socketIn({ netns, family }: SocketRequest): number {
  const there = openSync(netns, 'r');
  try {
    if (setns(there, CLONE.net) !== 0) throw lastError('setns', netns);
    try {
      const fd = Number(socketFn(FAMILY[family], SOCK_STREAM_NONBLOCK_CLOEXEC, 0));
      if (fd < 0) throw lastError('socket', netns);
      return fd;
    } finally {
      returnHome(['net']);
    }
  } finally {
    closeSync(there);
  }
}

function makeFresh(kinds: readonly NamespaceKind[], request: NamespaceRequest, pinned: string[]): void {
  try {
    if (request.user === undefined) leave(kinds);
    else enter(kinds, request.user.holder);
    for (const kind of kinds) pin(kind, request, pinned);
    if (kinds.includes('net')) setInterfaceUp('lo');
    for (const [key, value] of request.sysctls) writeSysctl(key, value);
  } finally {
    returnHome(kinds);
  }
}

function leave(kinds: readonly NamespaceKind[]): void {
  const flags = kinds.reduce((sum, kind) => sum | CLONE[kind], 0);
  if (unshare(flags) !== 0) throw lastError('unshare', kinds.join(','));
}

function enter(kinds: readonly NamespaceKind[], pid: number): void {
  for (const kind of kinds) {
    const fd = openSync(`/proc/${pid}/ns/${kind}`, 'r');
    try {
      if (setns(fd, CLONE[kind]) !== 0) throw lastError('setns', `the new ${kind} namespace`);
    } finally {
      closeSync(fd);
    }
  }
}

/** Gives the holder's user namespace its maps, which can be done once, and pins it. */
function pinUserNamespace(user: UserNamespaceRequest, pinned: string[]): void {
  for (const [file, map] of [
    ['uid_map', user.uidMap],
    ['gid_map', user.gidMap],
  ] as const) {
    try {
      writeFileSync(`/proc/${user.holder}/${file}`, map);
    } catch (error) {
      const lines = map.trim().replaceAll('\n', ', ');
      throw new Failure('InvalidArgument', `the kernel refuses ${file} "${lines.slice(0, 200)}": ${textOf(error)}`, {
        cause: error,
        advice: 'Check that the ranges do not overlap and that our own user namespace has all of these ids.',
      });
    }
  }
  makePinFile(user.pin, user, pinned);
  mount(`/proc/${user.holder}/ns/user`, user.pin, 'none', MS.BIND);
}

function pin(kind: NamespaceKind, request: NamespaceRequest, pinned: string[]): void {
  const path = request.pins[kind];
  makePinFile(path, request.user, pinned);
  mount(`/proc/thread-self/ns/${kind}`, path, 'none', MS.BIND);
}

function makePinFile(path: string, user: UserNamespaceRequest | undefined, pinned: string[]): void {
  const fd = openSync(path, 'wx', 0o600);
  pinned.push(path);
  try {
    if (user !== undefined) fchownSync(fd, user.root.uid, user.root.gid);
  } finally {
    closeSync(fd);
  }
}

function writeSysctl(key: string, value: string): void {
  const path = sysctlPath(key);
  try {
    writeFileSync(path, value);
  } catch (error) {
    throw sysctlFailure(key, value, textOf(error), error);
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

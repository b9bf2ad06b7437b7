import { symlink } from 'node:fs/promises';
import { join } from 'node:path';
import { Failure, codeOf, textOf } from '../errors/index.ts';
import type { Container } from '../containers/index.ts';
import { MS, mount, unmountIfMounted } from '../linux/index.ts';
import type { PodContext } from './context.ts';
import type { Sandbox } from './sandbox.ts';

const ANNOTATION = 'link-logs.crio.io';
const KUBELET_LOGS = '/var/log/pods';
const KUBELET_PODS = '/var/lib/kubelet/pods';
const DNS_LABEL = /^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$/;
const ELEMENT = /^[A-Za-z0-9_.-]{1,255}$/;

/**
 * Log linking [E90–E93]: a pod that names one of its emptyDir volumes in `link-logs.crio.io`, where its handler allows that, finds its own
 * logs there. Read-only, which CRI-O asks for and the kernel ignores [E94]. Failures only warn, as CRI-O's.
 */
export async function linkLogs(ctx: PodContext, sandbox: Sandbox): Promise<void> {
  try {
    const places = placesOf(sandbox);
    if (places === undefined) return;
    mount(places.logs, places.volume, 'none', MS.BIND);
    try {
      mount('none', places.volume, 'none', MS.BIND | MS.REMOUNT | MS.RDONLY | MS.NOSUID | MS.NODEV | MS.NOEXEC);
    } catch (error) {
      unmountIfMounted(places.volume);
      throw error;
    }
  } catch (error) {
    ctx.log.warn(`Failed to link logs: ${textOf(error)}`);
  }
}

/** In that directory a container's log has a name by the container's id [E92]. */
export async function linkContainerLog(ctx: PodContext, sandbox: Sandbox, container: Container): Promise<void> {
  try {
    const places = placesOf(sandbox);
    if (places === undefined) return;
    const { name, attempt } = container.facts.metadata;
    const link = join(places.logs, `${container.id}.log`);
    await symlink(join(element(name, 'container name'), `${attempt}.log`), link).catch((error) => {
      if (codeOf(error) !== 'EEXIST') throw error;
    });
  } catch (error) {
    ctx.log.warn(`Failed to link container logs: ${textOf(error)}`);
  }
}

/** Lazily, at the pod's stop [E93]. */
export function unlinkLogs(ctx: PodContext, sandbox: Sandbox): void {
  try {
    const places = placesOf(sandbox);
    if (places !== undefined) unmountIfMounted(places.volume);
  } catch (error) {
    ctx.log.warn(`Failed to unlink logs: ${textOf(error)}`);
  }
}

/** Every part of both paths is one name, whoever chose it [E91, a27]. */
function placesOf({ facts }: Sandbox): { readonly logs: string; readonly volume: string } | undefined {
  const volume = facts.annotations.get(ANNOTATION);
  if (volume === undefined) return undefined;
  if (!DNS_LABEL.test(volume)) throw new Failure('InvalidArgument', `empty dir vol name is invalid: ${JSON.stringify(volume)}`);
  const { namespace, name } = facts.metadata;
  const uid = element(facts.metadata.uid, 'pod UID');
  return {
    logs: join(KUBELET_LOGS, `${element(namespace, 'namespace')}_${element(name, 'pod name')}_${uid}`),
    volume: join(KUBELET_PODS, uid, 'volumes', 'kubernetes.io~empty-dir', volume),
  };
}

function element(text: string, what: string): string {
  if (ELEMENT.test(text) && text !== '.' && text !== '..') return text;
  throw new Failure('InvalidArgument', `${what} ${JSON.stringify(text)} is no name of a directory`);
}

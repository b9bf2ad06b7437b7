import { attach, exec } from '../../containers/index.ts';
import { wrap } from '../../errors/index.ts';
import { type PodContext, dialPod } from '../../pods/index.ts';
import type { StreamingBackend } from './types.ts';

/** Containers and pods behind the streams; they are looked up when the client comes [E48, E56, E66]. */
export function streamingBackend(pods: PodContext): StreamingBackend {
  const { registry, attachSocketDir } = pods.containers;
  const find = (id: string) => {
    try {
      return registry.find(id);
    } catch (error) {
      throw wrap(`could not find container "${id}"`, error, 'NotFound');
    }
  };
  return {
    exec: async (containerId, command, tty, client) => await exec(find(containerId), command, tty, client),
    attach: async (containerId, client) => await attach(find(containerId), attachSocketDir, client),
    dial: async (podId, port) => await dialPod(pods, podId, port),
  };
}

import { Failure, wrap } from '../errors/index.ts';
import type { LinuxContainerResources, OciResources, OciSpec } from '../oci/spec/index.ts';
import { stringifyExactJson } from '../files/index.ts';
import { memoryUsage } from '../resources/index.ts';
import type { Container } from './container.ts';
import { runtimePath } from './platform.ts';

/**
 * UpdateContainerResources [D191–D197]: hands the new limits to the runtime and to what Status shows; config.json stays as it
 * was. Zero and empty mean "no change". A memory limit below what the container uses now is refused: the kernel would kill it.
 */
export async function updateResources(
  container: Container,
  resources: LinuxContainerResources | undefined,
  node: { readonly swapAccounting: boolean; readonly sharedCpuset: string },
): Promise<void> {
  using _ = await container.lock.acquire();
  const { status } = container.state;
  if (status !== 'running' && status !== 'created') {
    throw new Failure('FailedPrecondition', `container ${container.id} is not running or created state: ${status}`);
  }
  if (resources === undefined) return;
  try {
    checkMemory(container, resources.memoryLimitInBytes);
  } catch (error) {
    throw wrap('memory validation failed', error);
  }
  const { runtime, spec } = container.facts;
  const update = updateOf(resources, node.swapAccounting, sharedCpus(spec, node.sharedCpuset));
  try {
    await runtime.update(container.id, stringifyExactJson(update), runtimePath(spec, runtime));
  } catch (error) {
    throw wrap(`updating resources for container "${container.id}" failed`, error);
  }
  remember(container, update);
}

/** Those that the container shares stay in any new set [D193]. Anybody can set the variable: only the node's own set counts. */
function sharedCpus(spec: OciSpec, sharedCpuset: string): string {
  return spec.process.env?.includes(`OPENSHIFT_SHARED_CPUS=${sharedCpuset}`) === true ? sharedCpuset : '';
}

/** [D194] */
function checkMemory(container: Container, limit: bigint): void {
  if (limit < 0n) throw new Failure('InvalidArgument', `invalid memory limit: ${limit} bytes (cannot be negative)`);
  if (limit === 0n || container.init === undefined) return;
  const usage = memoryUsage(container.init.pid);
  if (usage === undefined || limit >= usage) return;
  throw new Failure('FailedPrecondition', `cannot decrease memory limit to ${limit} bytes: current usage is ${usage} bytes`);
}

/** [D195] Swap goes with the memory limit where the kernel counts it, so that a new limit does not fail against the old sum. */
function updateOf(resources: LinuxContainerResources, swapAccounting: boolean, shared: string): OciResources {
  const { cpuPeriod, cpuQuota, cpuShares, cpusetCpus, cpusetMems, memoryLimitInBytes: memory, unified } = resources;
  return {
    cpu: {
      ...(cpuShares === 0n ? {} : { shares: cpuShares }),
      ...(cpuPeriod === 0n ? {} : { period: cpuPeriod }),
      ...(cpuQuota === 0n ? {} : { quota: cpuQuota }),
      ...(cpusetCpus === '' ? {} : { cpus: shared === '' ? cpusetCpus : `${cpusetCpus},${shared}` }),
      ...(cpusetMems === '' ? {} : { mems: cpusetMems }),
    },
    ...(memory === 0n ? {} : { memory: { limit: memory, ...(swapAccounting ? { swap: memory } : {}) } }),
    ...(unified.size === 0 ? {} : { unified: Object.fromEntries(unified) }),
  };
}

/** The spec in memory follows, for Status and for specs that are made from it [D197]. */
function remember(container: Container, update: OciResources): void {
  const current = (container.facts.spec.linux.resources ??= {});
  current.cpu = { ...current.cpu, ...update.cpu };
  if (update.memory !== undefined) current.memory = { ...current.memory, ...update.memory };
  if (update.unified !== undefined) current.unified = { ...current.unified, ...update.unified };
}

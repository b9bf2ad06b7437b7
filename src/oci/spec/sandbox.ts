import { Failure } from '../../errors/index.ts';
import { sandboxAnnotations } from './annotations.ts';
import { buildCapabilities } from './capabilities.ts';
import { seccompSection } from './container.ts';
import { BASE_ENV } from './env.ts';
import type { SandboxSpecInput, SpecResult } from './input.ts';
import { sandboxMounts } from './mounts.ts';
import { idMappingFields, sandboxNamespaces } from './namespaces.ts';
import { buildRlimits, clampOomScore } from './process.ts';
import { infraResources, toRecord } from './resources.ts';
import type { OciSpec } from './types.ts';
import { chooseOciVersion } from './version.ts';

/** The infra container is the last process of a pod that the kernel should kill [D74]. */
const INFRA_OOM_SCORE = -998n;

/**
 * A sandbox's config.json, written also where no infra process runs: it is what a restart restores the pod from
 * [D46, D47, D54, D73–D76, P47–P74]. Runs as uid 0 on a read-only root, whatever the pod's context says [D73].
 */
export function buildSandboxSpec(input: SandboxSpecInput): SpecResult<OciSpec> {
  const warnings: string[] = [];
  const { host, settings } = input;
  const capabilities = buildCapabilities({ privileged: false, noNewPrivs: false, request: undefined, host, settings }, warnings);
  const rlimits = buildRlimits(settings, host, warnings);
  const seccomp = input.privileged ? undefined : seccompSection(input.seccomp, host, capabilities);
  const spec: OciSpec = {
    ociVersion: chooseOciVersion(input.runtime.ociVersionMax),
    process: {
      user: { uid: 0, gid: 0 },
      args: pauseArgs(input),
      env: [...BASE_ENV],
      cwd: '/',
      capabilities,
      ...(rlimits.length === 0 ? {} : { rlimits }),
      oomScoreAdj: clampOomScore(INFRA_OOM_SCORE, host, warnings),
      ...(input.processLabel === '' ? {} : { selinuxLabel: input.processLabel }),
    },
    root: { path: input.rootfs, readonly: true },
    hostname: input.hostname,
    mounts: sandboxMounts(input),
    annotations: sandboxAnnotations(input),
    linux: {
      ...idMappingFields(input.idMappings),
      ...(input.sysctls.size === 0 ? {} : { sysctl: toRecord(input.sysctls) }),
      resources: infraResources(settings.infraCtrCpuset),
      ...(input.cgroupsPath === '' ? {} : { cgroupsPath: input.cgroupsPath }),
      namespaces: sandboxNamespaces(input),
      ...(seccomp === undefined ? {} : { seccomp }),
      ...(input.mountLabel === '' ? {} : { mountLabel: input.mountLabel }),
    },
  };
  return { spec, warnings };
}

function pauseArgs(input: SandboxSpecInput): string[] {
  if (input.pauseCommand !== '') return [input.pauseCommand];
  const args = [...input.pause.entrypoint, ...input.pause.cmd];
  if (args.length === 0)
    throw new Failure('Unknown', `unable to run pause image "${input.pauseImage}": neither Cmd nor Entrypoint specified`, {
      advice: 'Set pause_command, or choose a pause image that has an entrypoint.',
    });
  return args;
}

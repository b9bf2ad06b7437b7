import { Failure } from '../../errors/index.ts';
import { applySeccomp } from '../../security/index.ts';
import { annotationValue } from './annotation-keys.ts';
import { containerAnnotations } from './annotations.ts';
import { buildCapabilities } from './capabilities.ts';
import { buildEnvironment, injectedGomaxprocs } from './env.ts';
import { execCpuAffinity } from './exec-affinity.ts';
import type { ContainerSpecInput, HostFacts, SeccompChoice, SpecResult } from './input.ts';
import { SYSTEMD_MASKED, containerMounts } from './mounts.ts';
import { containerNamespaces, idMappingFields } from './namespaces.ts';
import { maskedPaths } from './masked-paths.ts';
import { buildArgs, buildRlimits, clampOomScore, isSystemd, umaskOf, workingDirectory } from './process.ts';
import type { ContainerConfig, LinuxContainerSecurityContext } from './request.ts';
import { buildResources, planCpu } from './resources.ts';
import type { OciCapabilities, OciLinux, OciProcess, OciSpec } from './types.ts';
import { chooseOciVersion } from './version.ts';

/**
 * A container's config.json from facts alone [F1–F122]: no look at the host happens here. What we may not grant
 * (oom_score_adj, hard limits, capabilities) is lowered with a warning; everything else that cannot be done is a Failure.
 */
export function buildContainerSpec(input: ContainerSpecInput): SpecResult<OciSpec> {
  const warnings: string[] = [];
  const security = input.config.linux?.securityContext;
  const privileged = security?.privileged ?? false;
  if (privileged && !input.sandbox.privileged) throw new Failure('Unknown', 'no privileged container allowed in sandbox');
  const readonlyRoot = input.settings.readOnly || (security?.readonlyRootfs ?? false);
  const process = buildProcess(input, privileged, warnings);
  const systemd = isSystemd(process.args);
  const spec: OciSpec = {
    ociVersion: chooseOciVersion(input.runtime.ociVersionMax),
    process,
    root: { path: input.rootfs, ...(readonlyRoot ? { readonly: true } : {}) },
    hostname: input.sandbox.hostname,
    mounts: containerMounts(input, { privileged, readonlyRoot, systemd }),
    ...(input.hooks === undefined ? {} : { hooks: input.hooks }),
    annotations: containerAnnotations(input),
    linux: buildLinux(input, security, process.capabilities, systemd),
  };
  return { spec, warnings };
}

function buildProcess(input: ContainerSpecInput, privileged: boolean, warnings: string[]): OciProcess {
  const { config, host, image, sandbox, settings } = input;
  const security = config.linux?.securityContext;
  const oomScoreAdj = config.linux?.resources?.oomScoreAdj;
  const rlimits = buildRlimits(settings, host, warnings);
  const affinity = execCpuAffinity(input, planCpu(input), warnings);
  const umask = umaskOf(annotationValue(sandbox.annotations, 'umask.crio.io'));
  return {
    ...(config.tty ? { terminal: true } : {}),
    user: {
      uid: input.user.uid,
      gid: input.user.gid,
      ...(umask === undefined ? {} : { umask }),
      ...(input.user.additionalGids.length === 0 ? {} : { additionalGids: [...input.user.additionalGids] }),
    },
    args: buildArgs(config.command, config.args, image),
    env: containerEnvironment(input, warnings),
    cwd: workingDirectory(config.workingDir, image.workingDir),
    capabilities: buildCapabilities(
      { privileged, noNewPrivs: security?.noNewPrivs ?? false, request: security?.capabilities, host, settings },
      warnings,
    ),
    ...(rlimits.length === 0 ? {} : { rlimits }),
    ...(security?.noNewPrivs === true ? { noNewPrivileges: true } : {}),
    ...(input.apparmorProfile === '' || privileged ? {} : { apparmorProfile: input.apparmorProfile }),
    ...(oomScoreAdj === undefined ? {} : { oomScoreAdj: clampOomScore(oomScoreAdj, host, warnings) }),
    ...(input.processLabel === '' ? {} : { selinuxLabel: input.processLabel }),
    ...(affinity === undefined ? {} : { execCPUAffinity: affinity }),
  };
}

/** `process.env` with GOMAXPROCS where it is due [F9–F17]; also for who needs HOME before the spec is built. */
export function containerEnvironment(
  input: Pick<ContainerSpecInput, 'config' | 'image' | 'sandbox' | 'settings' | 'workload'>,
  warnings: string[],
): string[] {
  const { config, image, sandbox, settings } = input;
  const env = buildEnvironment(
    {
      hostname: sandbox.hostname,
      defaultEnv: settings.defaultEnv,
      envs: config.envs,
      imageEnv: image.env,
      systemd: isSystemd(buildArgs(config.command, config.args, image)),
    },
    warnings,
  );
  const gomaxprocs = injectedGomaxprocs(input, env, planCpu(input) ?? { shares: 0n, quota: 0n });
  return gomaxprocs === undefined ? env : [...env, gomaxprocs];
}

function buildLinux(
  input: ContainerSpecInput,
  security: LinuxContainerSecurityContext | undefined,
  capabilities: OciCapabilities | undefined,
  systemd: boolean,
): OciLinux {
  const privileged = security?.privileged ?? false;
  const seccomp = seccompSection(input.seccomp, input.host, capabilities);
  const masked = privileged ? [] : maskedPaths(security?.maskedPaths ?? [], input.host.thermalThrottlePaths);
  if (systemd && input.host.cgroupVersion === 1 && !privileged) masked.push(SYSTEMD_MASKED);
  const readonly = privileged ? [] : [...(security?.readonlyPaths ?? [])];
  return {
    ...idMappingFields(input.sandbox.idMappings),
    resources: buildResources(input, planCpu(input)),
    ...(input.cgroupsPath === '' ? {} : { cgroupsPath: input.cgroupsPath }),
    namespaces: containerNamespaces(input, privileged),
    ...(input.devices.devices.length === 0 ? {} : { devices: input.devices.devices.map((device) => ({ ...device })) }),
    ...(seccomp === undefined ? {} : { seccomp }),
    ...(input.mounts.rootfsPropagation === undefined ? {} : { rootfsPropagation: input.mounts.rootfsPropagation }),
    ...(masked.length === 0 ? {} : { maskedPaths: masked }),
    ...(readonly.length === 0 ? {} : { readonlyPaths: readonly }),
    ...(input.mountLabel === '' ? {} : { mountLabel: input.mountLabel }),
    ...(input.rdtClass === undefined ? {} : { intelRdt: { closID: input.rdtClass } }),
  };
}

/** `linux.seccomp`: the chosen profile's rules for this bounding set [G18, G20–G24]. */
export function seccompSection(choice: SeccompChoice, host: HostFacts, capabilities: OciCapabilities | undefined): OciLinux['seccomp'] {
  if (choice.profile === undefined || !host.seccomp) return undefined;
  return applySeccomp(choice.profile, {
    architecture: host.architecture,
    kernelVersion: host.kernelVersion,
    capabilities: new Set(capabilities?.bounding),
  });
}

/** A request without `linux` or security context runs as uid 0 and gid 0, under the runtime's default profiles [F6, G20]. */
export function withSecurityContext(config: ContainerConfig): ContainerConfig {
  if (config.linux?.securityContext !== undefined) return config;
  const securityContext: LinuxContainerSecurityContext = {
    privileged: false,
    runAsUser: { value: 0n },
    runAsGroup: { value: 0n },
    runAsUsername: '',
    readonlyRootfs: false,
    supplementalGroups: [],
    supplementalGroupsPolicy: 0,
    noNewPrivs: false,
    maskedPaths: [],
    readonlyPaths: [],
    seccomp: { profileType: 0, localhostRef: '' },
    apparmor: { profileType: 0, localhostRef: '' },
    apparmorProfile: '',
    seccompProfilePath: '',
  };
  return { ...config, linux: { ...config.linux, securityContext } };
}

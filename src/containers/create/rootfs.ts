import { openRoot } from '../../linux/index.ts';
import {
  lookupUser,
  prepareEtc,
  prepareImageVolumes,
  prepareSubscriptions,
  prepareTimezone,
  prepareWorkingDirectory,
  readAccounts,
  userString,
  writeUserFiles,
} from '../../oci/rootfs/index.ts';
import {
  type ContainerConfig,
  type IdMappings,
  type OciMount,
  type ResolvedMounts,
  type ResolvedUser,
  containerEnvironment,
  hostOwner,
  mappedRoot,
  toContainer,
  workingDirectory,
} from '../../oci/spec/index.ts';
import type { UndoStack } from '../../sync/index.ts';
import type { CreationContext, PodForCreation } from './context.ts';
import type { ImageFacts } from '../../oci/spec/index.ts';
import type { Storage } from './image.ts';

export interface PreparedRootfs {
  readonly user: ResolvedUser;
  readonly userFiles: readonly OciMount[];
  readonly volumes: readonly OciMount[];
  readonly lateMounts: readonly OciMount[];
  readonly warnings: readonly string[];
}

/**
 * Everything that is read from or made in a container's root file system before it starts: its user, working directory,
 * /etc, image volumes, time zone [F16, F20–F27, F72, F73, F96–F98]. Paths resolve inside the root whatever links the image has.
 */
export async function prepareRootfs(
  ctx: CreationContext,
  pod: PodForCreation,
  config: ContainerConfig,
  image: ImageFacts,
  storage: Storage,
  mounts: ResolvedMounts,
  undo: UndoStack,
): Promise<PreparedRootfs> {
  using root = openRoot(storage.rootfs);
  const warnings: string[] = [];
  const security = config.linux?.securityContext;
  const accounts = readAccounts(root.fd);
  const userText = userString(security, image.user);
  const { idMappings } = pod.specFacts;
  const named = lookupUser(accounts, userText, security);
  const user = pod.namesHostIds && idMappings !== undefined ? translated(named, idMappings) : named;
  const owner = mappedRoot(idMappings);
  const etc = prepareEtc(root.fd, owner);
  if (etc !== undefined) warnings.push(etc);
  prepareWorkingDirectory(root.fd, workingDirectory(config.workingDir, image.workingDir), owner);
  const env = containerEnvironment({ config, image, sandbox: pod.specFacts, settings: ctx.specSettings }, []);
  const mounted = new Set(mounts.binds.map((mount) => mount.destination));
  const runDir = storage.runDirectory;
  const userFiles = await writeUserFiles({ rootFd: root.fd, runDir, accounts, user, userText, env, mounted, idMappings });
  const volumes = await prepareImageVolumes({
    volumes: storage.image.config.volumes,
    mode: ctx.settings.imageVolumes,
    rootFd: root.fd,
    runDir,
    undo,
    owner: hostOwner(user, idMappings),
  });
  const subscriptions = await prepareSubscriptions({ defaultMountsFile: ctx.settings.defaultMountsFile, runDir, owner });
  const zone = await prepareTimezone({
    containerId: storage.id,
    timezone: ctx.settings.timezone,
    rootFd: root.fd,
    runDir,
    readonlyRoot: security?.readonlyRootfs === true,
    owner,
  });
  return {
    user,
    userFiles,
    volumes: [...volumes.mounts, ...subscriptions.mounts],
    lateMounts: zone === undefined ? [] : [zone],
    warnings: [...warnings, ...volumes.warnings, ...subscriptions.warnings],
  };
}

/** Ids that are not the host's side of a range are the pod's already [F28]. */
function translated({ uid, gid, additionalGids }: ResolvedUser, { uids, gids }: IdMappings): ResolvedUser {
  const group = (id: number) => toContainer(id, gids) ?? id;
  return { uid: toContainer(uid, uids) ?? uid, gid: group(gid), additionalGids: additionalGids.map(group) };
}

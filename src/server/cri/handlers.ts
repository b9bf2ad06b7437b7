import type { ContainerContext } from '../../containers/index.ts';
import type { ImageService } from '../../images/index.ts';
import type { PodContext } from '../../pods/index.ts';
import { createContainerRpc } from './containers/create.ts';
import { execSyncRpc } from './containers/exec-sync.ts';
import { containerEntries, listContainers, streamContainers } from './containers/list.ts';
import { removeContainerRpc } from './containers/remove.ts';
import { reopenContainerLog } from './containers/reopen-log.ts';
import { startContainerRpc } from './containers/start.ts';
import { containerStatus } from './containers/status.ts';
import { stopContainerRpc } from './containers/stop.ts';
import { updateContainerResources } from './containers/update-resources.ts';
import { getContainerEvents } from './events/get.ts';
import type { PodEvents } from './events/pod-events.ts';
import { imageFsInfo } from './images/fs-info.ts';
import { listImages } from './images/list.ts';
import { pullImage } from './images/pull.ts';
import { removeImage } from './images/remove.ts';
import { imageStatus } from './images/status.ts';
import { runtimeConfig, updateRuntimeConfig } from './node/runtime-config.ts';
import { status } from './node/status.ts';
import { version } from './node/version.ts';
import { listPodSandbox, podEntries, streamPodSandboxes } from './pods/list.ts';
import { removePodSandbox } from './pods/remove.ts';
import { runPodSandbox } from './pods/run.ts';
import { podSandboxStatus } from './pods/status.ts';
import { stopPodSandbox } from './pods/stop.ts';
import { updatePodSandboxResources } from './pods/update-resources.ts';
import { attachUrl, execUrl, portForwardUrl } from './streaming/urls.ts';
import type { StreamingServer } from '../streaming/index.ts';
import type { PullBoard } from '../inspect/pulls.ts';
import type { CriHandlers } from './server.ts';

export interface Served {
  readonly pods: PodContext;
  readonly containers: ContainerContext;
  readonly images: ImageService;
  readonly pulls: PullBoard;
  /** undefined without `enable_pod_events`. */
  readonly events: PodEvents | undefined;
  readonly streaming: StreamingServer;
  /** Of the Version RPC. */
  readonly runtimeVersion: string;
  /** JSON for verbose Status [D216]. */
  readonly verboseConfig: () => string;
}

/** RPC → handler: the whole of CRI that is served. What is not here answers UNIMPLEMENTED. */
export function criHandlers({ pods, containers, images, pulls, streaming, events, runtimeVersion, verboseConfig }: Served): CriHandlers {
  const entries = { pods: podEntries(), containers: containerEntries() };
  return {
    RuntimeService: {
      Version: version(runtimeVersion),
      Status: status(pods.network, pods.runtimes, () => pods.store.mapsIds, verboseConfig),
      RuntimeConfig: runtimeConfig(pods.settings.cgroupManager),
      UpdateRuntimeConfig: updateRuntimeConfig(),
      RunPodSandbox: runPodSandbox(pods),
      StopPodSandbox: stopPodSandbox(pods),
      RemovePodSandbox: removePodSandbox(pods),
      PodSandboxStatus: podSandboxStatus(pods, events),
      ListPodSandbox: listPodSandbox(pods, entries.pods),
      StreamPodSandboxes: streamPodSandboxes(pods, entries.pods),
      CreateContainer: createContainerRpc(pods),
      StartContainer: startContainerRpc(containers),
      StopContainer: stopContainerRpc(containers),
      RemoveContainer: removeContainerRpc(containers),
      ContainerStatus: containerStatus(containers),
      ListContainers: listContainers(containers, entries.containers),
      StreamContainers: streamContainers(containers, entries.containers),
      GetContainerEvents: getContainerEvents(events),
      ExecSync: execSyncRpc(containers),
      Exec: execUrl(streaming, containers.registry),
      Attach: attachUrl(streaming, containers.registry),
      PortForward: portForwardUrl(streaming),
      UpdateContainerResources: updateContainerResources(containers, {
        swapAccounting: pods.host.swapAccounting,
        sharedCpuset: pods.settings.sharedCpuset,
      }),
      UpdatePodSandboxResources: updatePodSandboxResources(pods),
      ReopenContainerLog: reopenContainerLog(containers),
    },
    ImageService: {
      PullImage: pullImage(images, pulls),
      ListImages: listImages(images),
      ImageStatus: imageStatus(images),
      RemoveImage: removeImage(images, containers.registry),
      ImageFsInfo: imageFsInfo(images),
    },
  };
}

import type { NetworkService } from '../../../network/index.ts';
import type { RuntimeFeatures, RuntimeTable } from '../../../oci/runtime/index.ts';
import type { MessageInput, RuntimeHandler, StatusRequest, StatusResponse } from '../../../wire/index.ts';
import type { Handler } from '../rpc.ts';

/** Conditions [D213], handlers with their features [D215], and the configuration for verbose [D216]. */
export function status(
  network: NetworkService,
  runtimes: RuntimeTable,
  storeMapsIds: () => boolean,
  verboseConfig: () => string,
): Handler<StatusRequest, StatusResponse> {
  return async (request) => {
    const net = network.status();
    return {
      status: {
        conditions: [
          { type: 'RuntimeReady', status: true },
          net.ready
            ? { type: 'NetworkReady', status: true }
            : {
                type: 'NetworkReady',
                status: false,
                reason: 'NetworkPluginNotReady',
                message: `Network plugin returns error: ${net.reason}`,
              },
        ],
      },
      runtimeHandlers: handlers(runtimes, storeMapsIds()),
      features: { supplementalGroupsPolicy: true, userNamespacesHostNetwork: true },
      info: request.verbose ? new Map([['config', verboseConfig()]]) : new Map(),
    };
  };
}

/**
 * The default one stands under the empty name too. User namespaces are claimed where volumes and root file systems can both have
 * mapped ids: the runtime says the one, the kernel and the store's file system the other [G96, p49].
 */
function handlers(runtimes: RuntimeTable, storeMapsIds: boolean): MessageInput<RuntimeHandler>[] {
  const entry = (name: string, { recursiveReadOnly, idmapMounts }: RuntimeFeatures) => ({
    name,
    features: { recursiveReadOnlyMounts: recursiveReadOnly, userNamespaces: idmapMounts && storeMapsIds },
  });
  const listed = runtimes.list().map(({ handler }) => entry(handler.name, handler.features));
  return [...listed, entry('', runtimes.get('').handler.features)];
}

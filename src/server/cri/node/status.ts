import type { NetworkService } from '../../../network/index.ts';
import type { RuntimeTable } from '../../../oci/runtime/index.ts';
import type { MessageInput, RuntimeHandler, StatusRequest, StatusResponse } from '../../../wire/index.ts';
import type { Handler } from '../rpc.ts';

/** Conditions [D213], handlers with their features [D215], and the configuration for verbose [D216]. */
export function status(
  network: NetworkService,
  runtimes: RuntimeTable,
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
      runtimeHandlers: handlers(runtimes),
      features: { supplementalGroupsPolicy: true },
      info: request.verbose ? new Map([['config', verboseConfig()]]) : new Map(),
    };
  };
}

/** The default one stands under the empty name too. User namespaces are not claimed until pods can have them. */
function handlers(runtimes: RuntimeTable): MessageInput<RuntimeHandler>[] {
  const entry = (name: string, recursiveReadOnlyMounts: boolean) => ({
    name,
    features: { recursiveReadOnlyMounts, userNamespaces: false },
  });
  const listed = runtimes.list().map(({ handler }) => entry(handler.name, handler.features.recursiveReadOnly));
  return [...listed, entry('', runtimes.get('').handler.features.recursiveReadOnly)];
}

import type { Container, ContainerRegistry } from '../../../containers/index.ts';
import { wrap } from '../../../errors/index.ts';

/** `could not find container "<id>": …`, NotFound [D131, D156, E1]. */
export function findContainer(registry: ContainerRegistry, id: string): Container {
  try {
    return registry.find(id);
  } catch (error) {
    throw wrap(`could not find container "${id}"`, error, 'NotFound');
  }
}

/** As above, but an id that matches nothing is nobody [D136, D151]. */
export function findContainerIfAny(registry: ContainerRegistry, id: string): Container | undefined {
  try {
    return registry.findIfAny(id);
  } catch (error) {
    throw wrap(`could not find container "${id}"`, error, 'NotFound');
  }
}

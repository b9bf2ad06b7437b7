import type { Config } from '../config/index.ts';
import { ImageService, forgetOneTimeAuth, type StorePlace } from '../images/index.ts';
import type { Logger } from '../log/index.ts';
import type { SystemdScopes } from '../resources/index.ts';
import type { LayerUnpacker, Store } from '../storage/index.ts';
import { LiveRegistries } from './registries.ts';
import { separatePulls } from './separate-pulls.ts';
import { type RegistriesFlags, imageSettings } from './settings.ts';

/** [I87] */
const INSECURE_REGISTRIES =
  'Insecure registries option is deprecated and no longer effective. Please use `insecure` in `registries.conf` instead.';

export interface ImageParts {
  readonly store: Store;
  readonly place: StorePlace;
  readonly unpacker: LayerUnpacker;
  readonly scopes: SystemdScopes | undefined;
  readonly flags: RegistriesFlags;
  readonly log: Logger;
}

/** The image service, and what keeps its registries current; a bad registries.conf fails here [I14]. */
export async function buildImages(
  config: Config,
  env: NodeJS.ProcessEnv,
  { store, place, unpacker, scopes, flags, log }: ImageParts,
): Promise<{ readonly images: ImageService; readonly registries: LiveRegistries }> {
  if (config.image.insecureRegistries.length > 0) log.warn(INSECURE_REGISTRIES);
  const settings = imageSettings(config, env, flags);
  const apart = separatePulls(config, { place, store, settings, scopes, log });
  const images = new ImageService({ store, unpacker, settings, log, apart });
  const registries = new LiveRegistries(images, settings, log);
  if (config.image.autoReloadRegistries) await registries.watch();
  await images.reload();
  await forgetOneTimeAuth(settings.namespacedAuthDir, log);
  return { images, registries };
}

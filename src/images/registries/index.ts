export type { Endpoint, Mirror, RegistriesConf, Registry } from './conf.ts';
export { type PullSource, pullSources } from './find.ts';
export { type LoadedRegistries, type RegistriesPaths, loadRegistries } from './load.ts';
export { type Resolution, resolveShortName } from './short-names.ts';

export { LayerFetcher } from './layers.ts';
export { failureLabel } from './outcome.ts';
export { type PullOrder, pullImage } from './puller.ts';
export type { SourceContext } from './source.ts';

export type { StorePlace } from './protocol.ts';
export { SeparatePulls } from './separate-pulls.ts';

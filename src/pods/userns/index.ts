export { configuredMappings, fromRecord } from './mappings.ts';
export type { UsernsSettings } from './mode.ts';
export { type UsernsPlan, annotationWarning, namesHostIds, planUserns } from './plan.ts';

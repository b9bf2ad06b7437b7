export * from './request.ts';
export type * from './types.ts';
export type * from './input.ts';

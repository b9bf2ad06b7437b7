export * from './cgroups/index.ts';

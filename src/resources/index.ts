export * from './cgroups/index.ts';
export * from './systemd/index.ts';

/** The table of subcommands. Each is loaded when it is asked for, so that none pays for the others. */
import type { AnyCommand, CommandSummary } from '../command.ts';

export interface CommandEntry extends CommandSummary {
  readonly group: 'Pods and containers' | 'Images' | 'This program';
  readonly hidden?: boolean;
  load(): Promise<AnyCommand>;
}

const pods = { group: 'Pods and containers' } as const;
const images = { group: 'Images' } as const;
const program = { group: 'This program' } as const;

export const COMMANDS: readonly CommandEntry[] = [
  { ...pods, name: 'run', summary: 'Run a pod from a Kubernetes manifest', load: async () => (await import('./run.ts')).run },
  { ...pods, name: 'pods', summary: 'List pods', load: async () => (await import('./pods.ts')).pods },
  { ...pods, name: 'ps', summary: 'List containers', load: async () => (await import('./ps.ts')).ps },
  { ...pods, name: 'logs', summary: "Show a container's log", load: async () => (await import('./logs.ts')).logs },
  { ...pods, name: 'exec', summary: 'Run a command in a container', load: async () => (await import('./exec.ts')).exec },
  {
    ...pods,
    name: 'attach',
    summary: "Connect with a running container's streams",
    load: async () => (await import('./attach.ts')).attach,
  },
  { ...pods, name: 'cp', summary: 'Copy files into a container or out of it', load: async () => (await import('./cp.ts')).cp },
  { ...pods, name: 'top', summary: "Show a container's processes", load: async () => (await import('./top.ts')).top },
  {
    ...pods,
    name: 'port-forward',
    summary: 'Reach ports of a pod from here',
    load: async () => (await import('./port-forward.ts')).portForward,
  },
  {
    ...pods,
    name: 'inspect',
    summary: 'Show everything about a pod, container or image',
    load: async () => (await import('./inspect.ts')).inspect,
  },
  { ...pods, name: 'stop', summary: 'Stop pods or containers', load: async () => (await import('./stop.ts')).stop },
  { ...pods, name: 'rm', summary: 'Remove pods or containers', load: async () => (await import('./rm.ts')).rm },
  { ...images, name: 'pull', summary: 'Pull images', load: async () => (await import('./pull.ts')).pull },
  { ...images, name: 'images', summary: 'List images', load: async () => (await import('./images.ts')).images },
  {
    ...images,
    name: 'history',
    summary: 'Show how an image was built',
    load: async () => (await import('./history.ts')).history,
  },
  { ...images, name: 'df', summary: 'Show what takes up space in the storage directory', load: async () => (await import('./df.ts')).df },
  {
    ...images,
    name: 'image',
    summary: 'The same commands, as other tools name them: image inspect, history, ls, pull, rm',
    load: async () => (await import('./image.ts')).image,
  },
  { ...images, name: 'rmi', summary: 'Remove images', load: async () => (await import('./rmi.ts')).rmi },
  {
    ...program,
    name: 'config',
    summary: 'Print the configuration as a commented template',
    load: async () => (await import('./config.ts')).config,
  },
  {
    ...program,
    name: 'status',
    summary: 'Ask the running daemon for its configuration and containers',
    load: async () => (await import('./status.ts')).status,
  },
  { ...program, name: 'check', summary: 'Look for damage in the storage directory', load: async () => (await import('./check.ts')).check },
  {
    ...program,
    name: 'complete',
    alias: 'completion',
    summary: 'Print a completion script for a shell',
    load: async () => (await import('./complete.ts')).complete,
  },
  {
    ...program,
    name: 'publish',
    summary: 'Accepts events of shims',
    hidden: true,
    load: async () => (await import('./publish.ts')).publish,
  },
  {
    ...program,
    name: 'wipe',
    summary: 'Remove what CRI-O made before a reboot or an upgrade',
    load: async () => (await import('./wipe.ts')).wipe,
  },
  {
    ...program,
    name: 'version',
    summary: 'Print the version and how it was built',
    load: async () => (await import('./version.ts')).version,
  },
];

export function findCommand(name: string): CommandEntry | undefined {
  return COMMANDS.find((entry) => entry.name === name || entry.alias === name);
}

import { invalid } from './check.ts';

export interface DeviceRequest {
  readonly hostPath: string;
  readonly containerPath: string;
  /** Letters of `rwm`. */
  readonly permissions: string;
}

const isMode = (text: string) => /^[rwm]+$/.test(text) && new Set(text).size === text.length;

/** `host[:container][:rwm]`, of `additional_devices` and of the devices annotation [B55, P14]; undefined for empty items. */
export function parseDevice(item: string): DeviceRequest | undefined {
  if (item === '') return undefined;
  const advice = 'Write devices as /dev/host:/dev/container:rwm.';
  const parts = item.split(':');
  const [hostPath = '', second, third] = parts;
  if (parts.length > 3) throw invalid(`invalid device specification: ${item}`, advice);
  if (third !== undefined && !isMode(third)) throw invalid(`invalid device mode: ${third}`, advice);
  const secondIsMode = second !== undefined && isMode(second);
  if (second !== undefined && !secondIsMode && second !== '' && !second.startsWith('/')) {
    throw invalid(`invalid device mode: ${second}`, advice);
  }
  const containerPath = second === undefined || second === '' || secondIsMode ? hostPath : second;
  if (!containerPath.startsWith('/dev/'))
    throw invalid(`invalid device mode: ${containerPath}`, 'The path in the container has to be below /dev/.');
  return { hostPath, containerPath, permissions: (secondIsMode ? second : third) ?? 'rwm' };
}

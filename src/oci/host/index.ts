export { executes, executesMachine } from './platform.ts';
export { hardLimits, readHostFacts } from './facts.ts';
export { type ConfiguredDevice, type DeviceRequest, parseDevice, resolveDevices } from './devices.ts';

export { type HostPortManager, type HostPortOwner, noHostPorts, openHostPorts } from './manager.ts';

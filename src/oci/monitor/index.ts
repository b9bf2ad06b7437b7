export { type MonitorSettings, type MonitoredCreate, type MonitoredProcess, type ProcessIdentity, createUnderMonitor } from './conmon.ts';

export {
  type MonitorSettings,
  type MonitorToPlace,
  type MonitoredCreate,
  type MonitoredProcess,
  type ProcessIdentity,
  createUnderMonitor,
} from './conmon.ts';

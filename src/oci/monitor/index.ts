export {
  type MonitorSettings,
  type MonitoredCreate,
  type MonitoredProcess,
  type ProcessIdentity,
  createUnderMonitor,
  monitorArguments,
} from './conmon.ts';

export { SystemdScopes } from './scopes.ts';

export * from './agent.js';
declare const api: typeof import('./agent.js');
export default api;

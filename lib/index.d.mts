export * from './index.js';
declare const api: typeof import('./index.js');
export default api;

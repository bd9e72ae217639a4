export * from './audiences.js';
declare const api: typeof import('./audiences.js');
export default api;

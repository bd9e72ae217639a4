export * from './lambda.js';
declare const api: typeof import('./lambda.js');
export default api;

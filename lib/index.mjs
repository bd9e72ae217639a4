import api from './index.js';

export const { createDispatcher } = api;
export default api;

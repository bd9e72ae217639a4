import api from './index.js';

export const { createDispatcher, info } = api;
export default api;

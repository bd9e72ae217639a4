import api from './index.js';

export const { closeOnSignal, createDispatcher, info } = api;
export default api;

import api from './agent.js';

export const { listenToAgent } = api;
export default api;

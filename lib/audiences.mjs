import api from './audiences.js';

export const { createAudiences } = api;
export default api;

import api from './lambda.js';

export const { withFlush } = api;
export default api;

/**
 * React: the listener is attached once, beside the client, and components decide as often as they like.
 *
 * `?serverUrl=http://127.0.0.1:8787/2/httpapi` sends to a collector, and not to Amplitude.
 */

import * as amplitude from '@amplitude/analytics-browser';
import { OptimizelyProvider, createInstance, useDecision } from '@optimizely/react-sdk';
import { StrictMode } from 'react';
import { createRoot } from 'react-dom/client';
import { attachAmplitude } from 'optimizely-amplitude/browser';
import datafile from '../datafile.json';

const serverUrl = new URLSearchParams(location.search).get('serverUrl') ?? undefined;
const user = { id: 'user_9', attributes: { country: 'US', plan: 'premium' } };

amplitude.init('AMPLITUDE_API_KEY', user.id, { serverUrl, autocapture: false });
const optimizely = createInstance({ datafile: JSON.stringify(datafile) });
attachAmplitude(optimizely, amplitude);

function Checkout() {
  const [decision] = useDecision('checkout_flow');
  return <h1 id="title">{decision.enabled ? decision.variables.title : 'Checkout'}</h1>;
}

createRoot(document.querySelector('#root')).render(
  <StrictMode>
    <OptimizelyProvider optimizely={optimizely} user={user}>
      <Checkout />
    </OptimizelyProvider>
  </StrictMode>,
);

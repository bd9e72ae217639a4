"""FastAPI: one dispatcher for a process, closed with it.

AMPLITUDE_API_KEY=... OPTIMIZELY_SDK_KEY=... uvicorn fastapi_app:app
"""

import os
from contextlib import asynccontextmanager
from typing import Any, AsyncIterator, Dict

from fastapi import FastAPI

from optimizely_amplitude import Dispatcher
from optimizely_client import make_client

client = make_client()


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    # server_url is for a local collector; without it decisions go to Amplitude.
    options: Any = {"server_url": os.environ["AMPLITUDE_SERVER_URL"]} if "AMPLITUDE_SERVER_URL" in os.environ else {}
    async with Dispatcher(api_key=os.environ["AMPLITUDE_API_KEY"], **options) as dispatcher:
        dispatcher.attach(client)
        yield


app = FastAPI(lifespan=lifespan)


@app.get("/checkout/{user_id}")
async def checkout(user_id: str) -> Dict[str, Any]:
    user = client.create_user_context(user_id)
    return {"checkout": user.decide("checkout_flow").variation_key if user else None}

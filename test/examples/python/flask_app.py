"""Flask, also behind gunicorn with and without --preload: each worker has a thread and a queue of its own.

AMPLITUDE_API_KEY=... OPTIMIZELY_SDK_KEY=... gunicorn --preload --workers 4 flask_app:app
"""

import os
from typing import Any, Dict

from flask import Flask

from optimizely_amplitude import Dispatcher
from optimizely_client import make_client

# server_url is for a local collector; without it decisions go to Amplitude.
options: Any = {"server_url": os.environ["AMPLITUDE_SERVER_URL"]} if "AMPLITUDE_SERVER_URL" in os.environ else {}
client = make_client()
dispatcher = Dispatcher(api_key=os.environ["AMPLITUDE_API_KEY"], **options)
dispatcher.attach(client)

app = Flask(__name__)


@app.get("/checkout/<user_id>")
def checkout(user_id: str) -> Dict[str, Any]:
    user = client.create_user_context(user_id)
    return {"checkout": user.decide("checkout_flow").variation_key if user else None}

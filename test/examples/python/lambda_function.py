"""AWS Lambda: what an invocation decides is delivered before the process is frozen."""

import os
from typing import Any, Dict

from optimizely_amplitude import Dispatcher
from optimizely_amplitude.aws_lambda import with_flush
from optimizely_client import make_client

# server_url is for a local collector; without it decisions go to Amplitude.
options: Any = {"server_url": os.environ["AMPLITUDE_SERVER_URL"]} if "AMPLITUDE_SERVER_URL" in os.environ else {}
client = make_client()
dispatcher = Dispatcher(api_key=os.environ["AMPLITUDE_API_KEY"], **options)
dispatcher.attach(client)


@with_flush(dispatcher)
def handler(event: Dict[str, Any], context: Any) -> Dict[str, Any]:
    user = client.create_user_context(event["user_id"])
    return {"checkout": user.decide("checkout_flow").variation_key if user else None}

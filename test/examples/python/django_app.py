"""Django, in one file. In a project, the client and the dispatcher are made in AppConfig.ready() of an application.

AMPLITUDE_API_KEY=... OPTIMIZELY_SDK_KEY=... gunicorn django_app:application
"""

import os
from typing import Any

from django.conf import settings
from django.core.wsgi import get_wsgi_application
from django.http import HttpRequest, JsonResponse
from django.urls import path

from optimizely_amplitude import Dispatcher
from optimizely_client import make_client

# server_url is for a local collector; without it decisions go to Amplitude.
options: Any = {"server_url": os.environ["AMPLITUDE_SERVER_URL"]} if "AMPLITUDE_SERVER_URL" in os.environ else {}
client = make_client()
dispatcher = Dispatcher(api_key=os.environ["AMPLITUDE_API_KEY"], **options)
dispatcher.attach(client)


def checkout(request: HttpRequest, user_id: str) -> JsonResponse:
    user = client.create_user_context(user_id)
    return JsonResponse({"checkout": user.decide("checkout_flow").variation_key if user else None})


urlpatterns = [path("checkout/<str:user_id>", checkout)]
settings.configure(ALLOWED_HOSTS=["*"], ROOT_URLCONF=__name__, SECRET_KEY=os.urandom(32).hex())
application = get_wsgi_application()

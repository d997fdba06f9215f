"""gidgethub on aiohttp. Stores nothing."""

import os
import sys

from aiohttp import web
from gidgethub import ValidationFailure, routing, sansio

SECRET = os.environ["BENCH_SECRET"]
router = routing.Router()


async def receive(request: web.Request) -> web.Response:
    body = await request.read()
    try:
        event = sansio.Event.from_http(request.headers, body, secret=SECRET)
    except ValidationFailure:
        return web.Response(status=403)
    await router.dispatch(event)
    return web.Response(status=202)


application = web.Application()
application.router.add_post("/", receive)
web.run_app(application, host="127.0.0.1", port=int(sys.argv[1]), print=None, access_log=None)

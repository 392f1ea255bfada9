"""A stand-in of Slack for the tests: its Web API on this machine, with a workspace that lasts as long as it does.

usage: standin.py PORT        0 for any; says `ready PORT` once it takes calls at http://127.0.0.1:PORT/api

It is held to Slack's own client (client.py, by slack_sdk) in the same run of the tests.
"""

import asyncio
import sys

from aiohttp import web
from api import WebApi
from control import Control
from inward import Hooks, SocketMode
from workspace import Workspace


class StandIn:
    """The parts, each of which brings its routes."""

    def __init__(self):
        self.workspace = Workspace()
        self.api = WebApi(self.workspace)
        # Socket Mode's own method comes before the others.
        self.parts = [SocketMode(self.workspace), self.api, Hooks(), Control(self.workspace, self.api)]

    async def serve(self, port):
        app = web.Application(client_max_size=1 << 20)
        for part in self.parts:
            app.add_routes(part.routes())
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", port)
        await site.start()
        print("ready", site._server.sockets[0].getsockname()[1], flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(StandIn().serve(int(sys.argv[1])))

"""What a test asks of the stand-in and no Slack has: what was said, what is to go wrong."""

from aiohttp import web


class Control:
    def __init__(self, workspace, api):
        self.workspace, self.api = workspace, api

    def routes(self):
        return [
            web.get("/test/state", self.state),
            web.post("/test/fail", self.fail),
            web.post("/test/let-go", self.let_go),
            web.post("/test/scopes", self.scopes),
        ]

    async def state(self, request):
        said, whispered = self.workspace.said(), self.workspace.ephemerals
        return web.json_response({"messages": said, "ephemerals": whispered, "calls": self.api.calls, "held": self.api.held})

    async def fail(self, request):
        self.api.fail(await request.json())
        return web.json_response({})

    async def let_go(self, request):
        self.api.let_go()
        return web.json_response({})

    async def scopes(self, request):
        """The scopes that the app has from now on."""
        self.workspace.scopes = set(await request.json())
        return web.json_response({})

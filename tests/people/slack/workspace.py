"""A workspace of Slack, as the stand-in keeps it: who and what is there, and what was said.

Knows nothing of HTTP. A refusal is a `Refused` with Slack's own word (https://docs.slack.dev/reference/methods).
"""

import itertools
import time


class Refused(Exception):
    """What Slack answers with `ok: false`."""

    def __init__(self, error, **more):
        super().__init__(error)
        self.error, self.more = error, more


class Channel:
    """A channel, or what a member and the app say to one another."""

    def __init__(self, id, name=None, member=True, private=False, archived=False, user=None):
        self.id, self.name, self.member, self.private = id, name, member, private
        self.archived, self.user = archived, user
        self.messages = {}          # by ts


class Workspace:
    TEAM, BOT, BOT_ID, APP = "T0QUELL01", "U0QUELL01", "B0QUELL01", "A0QUELL01"
    TOKEN = "xoxb-0001-quell-test"
    REVOKED = "xoxb-0002-revoked"

    def __init__(self):
        # Whoever starts it says what the app may.
        self.scopes = {"chat:write", "commands"}
        self.members = {"U0ANA0001": "ana", "U0BO00001": "bo", "U0LEAD001": "lead"}
        self.channels = {
            channel.id: channel
            for channel in [
                Channel("C0INCIDENT", "incidents"),
                Channel("C0DRILLS01", "drills"),
                Channel("C0ARCHIVED", "archived", archived=True),
                Channel("C0STRANGE1", "strange", member=False),
                Channel("C0PRIVATE1", "private", member=False, private=True),
            ]
        }
        self.ephemerals = []
        self._ts = itertools.count(1)

    def token(self, token):
        """What a token may do; refuses one that is none."""
        if not token:
            raise Refused("not_authed")
        if token == self.REVOKED:
            raise Refused("account_inactive")
        if token != self.TOKEN:
            raise Refused("invalid_auth")

    def wants(self, scope):
        if scope not in self.scopes:
            raise Refused("missing_scope", needed=scope, provided=",".join(sorted(self.scopes)))

    def direct(self, user):
        """The conversation of a member with the app: made when it is first needed."""
        if user not in self.members:
            raise Refused("user_not_found")
        id = "D" + user[1:]
        return self.channels.setdefault(id, Channel(id, user=user))

    def to(self, channel):
        """Where a message goes: `#name`, `name`, a channel's id, or a member's."""
        if not isinstance(channel, str) or not channel:
            raise Refused("channel_not_found")
        if channel in self.members:
            return self.direct(channel)
        named = (one for one in self.channels.values() if one.name and one.name == channel.lstrip("#"))
        found = self.channels.get(channel) or next(named, None)
        # What a bot has no part in, and nobody else may see, is not there for it.
        if found is None or (found.private and not found.member):
            raise Refused("channel_not_found")
        if found.archived:
            raise Refused("is_archived")
        if not found.member and "chat:write.public" not in self.scopes:
            raise Refused("not_in_channel")
        return found

    def post(self, channel, content, thread=None, broadcast=False):
        ts = f"{int(time.time())}.{next(self._ts):06d}"
        message = {
            "type": "message",
            "user": self.BOT,
            "bot_id": self.BOT_ID,
            "app_id": self.APP,
            "team": self.TEAM,
            "ts": ts,
            **content,
        }
        if thread:
            message["thread_ts"] = thread
        if broadcast:
            message["subtype"] = "thread_broadcast"
        channel.messages[ts] = {"now": message, "before": []}
        return message

    def update(self, id, ts, content):
        channel = self.channels.get(id)
        if channel is None:
            raise Refused("channel_not_found")
        if channel.archived:
            raise Refused("is_inactive")
        kept = channel.messages.get(ts)
        if kept is None:
            raise Refused("message_not_found")
        if kept["now"]["user"] != self.BOT:
            raise Refused("cant_update_message")
        has_rich = lambda blocks: any(block["type"] == "rich_text" for block in blocks or [])
        if has_rich(kept["now"].get("blocks")) and not has_rich(content.get("blocks")):
            raise Refused("block_mismatch")
        kept["before"].append(dict(kept["now"]))
        kept["now"].update(content)
        kept["now"]["edited"] = {"user": self.BOT, "ts": f"{int(time.time())}.000000"}
        return channel, kept["now"]

    def delete(self, id, ts):
        channel = self.channels.get(id)
        if channel is None:
            raise Refused("channel_not_found")
        if channel.messages.pop(ts, None) is None:
            raise Refused("message_not_found")

    def whisper(self, id, user, content):
        """A message that one member alone sees."""
        channel = self.to(id)
        if user not in self.members:
            raise Refused("user_not_in_channel")
        ts = f"{int(time.time())}.{next(self._ts):06d}"
        self.ephemerals.append({"channel": channel.id, "user": user, "ts": ts, **content})
        return ts

    def said(self):
        """Every message, in the order in which they came."""
        rows = [
            {"channel": channel.id, **kept["now"], "before": kept["before"]}
            for channel in self.channels.values()
            for kept in channel.messages.values()
        ]
        return sorted(rows, key=lambda row: row["ts"].split(".")[1])

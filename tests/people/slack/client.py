"""Slack's own client (slack_sdk) against the stand-in: what it sends is taken, and what is refused it says as Slack's errors.

usage: client.py http://127.0.0.1:PORT/api/        says `ok` when all of it holds
       client.py URL broken                        the same of what a test has set to go wrong
       client.py URL read CHANNEL TS               reads a thread, and holds its blocks to slack_sdk's own models
"""

import sys

from slack_sdk import WebClient
from slack_sdk.errors import SlackApiError
from slack_sdk.models.blocks import ActionsBlock, Block, ButtonElement, ConfirmObject, ContextBlock, HeaderBlock, PlainTextObject, SectionBlock

TOKEN = "xoxb-0001-quell-test"


def client(url, token=TOKEN):
    return WebClient(token=token, base_url=url, timeout=10)


def refused(call, error, status=200):
    """The call is refused with Slack's word."""
    try:
        call()
    except SlackApiError as refusal:
        assert refusal.response["error"] == error, (error, refusal.response.data)
        assert refusal.response.status_code == status, refusal.response.status_code
        return refusal.response
    raise AssertionError(f"taken, though it should have been `{error}`")


def drive(url):
    slack = client(url)
    assert slack.auth_test()["user_id"] == "U0QUELL01"
    refused(lambda: client(url, "xoxb-of-nobody").auth_test(), "invalid_auth")
    refused(lambda: client(url, "xoxb-0002-revoked").auth_test(), "account_inactive")
    refused(lambda: client(url, None).auth_test(), "not_authed")
    refused(lambda: slack.api_call("chat.nothing"), "unknown_method")

    plain = lambda text: PlainTextObject(text=text, emoji=False)
    button = ButtonElement(
        text=plain("Resolve"),
        action_id="quell:resolve",
        value="x" * 2000,
        style="danger",
        confirm=ConfirmObject(title="Sure?", text=plain("It is over."), confirm="Yes", deny="No"),
    )
    blocks = [
        HeaderBlock(text=plain("a" * 150)),
        SectionBlock(text=plain("b" * 3000)),
        ContextBlock(elements=[plain("c")]),
        ActionsBlock(elements=[button]),
    ]
    posted = slack.chat_postMessage(channel="#incidents", text="fallback", blocks=blocks)
    channel, ts = posted["channel"], posted["ts"]
    assert channel == "C0INCIDENT" and posted["message"]["text"] == "fallback"
    # As a form, blocks as a text in it: what older clients send.
    form = {"channel": "C0INCIDENT", "text": "form", "blocks": '[{"type": "divider"}]'}
    assert slack.api_call("chat.postMessage", data=form)["message"]["blocks"] == [{"type": "divider"}]
    reply = slack.chat_postMessage(channel=channel, text="in the thread", thread_ts=ts)
    assert reply["message"]["thread_ts"] == ts
    edited = slack.chat_update(channel=channel, ts=ts, text="edited", blocks=blocks[:2])
    assert edited["ts"] == ts and len(edited["message"]["blocks"]) == 2
    thread = slack.conversations_replies(channel=channel, ts=ts)["messages"]
    assert [message["text"] for message in thread] == ["edited", "in the thread"]
    direct = slack.conversations_open(users="U0ANA0001")["channel"]["id"]
    assert slack.chat_postMessage(channel="U0ANA0001", text="you")["channel"] == direct
    assert slack.chat_postEphemeral(channel=channel, user="U0ANA0001", text="only you")["message_ts"]

    say = lambda **args: (lambda: slack.chat_postMessage(**{"channel": channel, "text": "x", **args}))
    for where, error in [
        ("#nowhere", "channel_not_found"),
        ("#private", "channel_not_found"),
        ("#strange", "not_in_channel"),
        ("#archived", "is_archived"),
        ("U0NOBODY1", "channel_not_found"),
    ]:
        refused(say(channel=where), error)
    refused(say(text=""), "no_text")
    refused(say(text="x" * 40_001), "msg_too_long")
    too_long = {"type": "header", "text": {"type": "plain_text", "text": "x" * 151}}
    assert "150" in refused(say(blocks=[too_long]), "invalid_blocks")["errors"][0]
    refused(say(blocks="{"), "invalid_blocks_format")
    section = {"type": "section", "text": {"type": "plain_text", "text": "x" * 2990}}
    refused(say(blocks=[section] * 5), "msg_blocks_too_long")
    refused(say(blocks=[{"type": "divider"}] * 51), "invalid_blocks")
    refused(lambda: slack.chat_update(channel=channel, ts="1.000001", text="x"), "message_not_found")
    # A name, and a member's id, are no channel's.
    refused(lambda: slack.chat_update(channel="#incidents", ts=ts, text="x"), "channel_not_found")
    refused(lambda: slack.chat_update(channel="U0ANA0001", ts=ts, text="x"), "channel_not_found")
    slack.chat_delete(channel=channel, ts=ts)
    refused(lambda: slack.chat_update(channel=channel, ts=ts, text="x"), "message_not_found")

    print("ok")


def broken(url):
    """What was set to go wrong before: 429 with Retry-After, then a refusal for want of a scope."""
    slack = client(url)
    post = lambda: slack.chat_postMessage(channel="#incidents", text="x")
    assert refused(post, "ratelimited", 429).headers["Retry-After"] == "7"
    assert refused(post, "missing_scope")["needed"] == "chat:write"
    print("ok")


def read(url, channel, ts):
    for message in client(url).conversations_replies(channel=channel, ts=ts)["messages"]:
        blocks = Block.parse_all(message["blocks"])
        assert len(blocks) == len(message["blocks"]), "slack_sdk does not know a block"
        for block in blocks:
            block.validate_json()
        print(message["text"])


if __name__ == "__main__":
    what = sys.argv[2] if len(sys.argv) > 2 else "drive"
    {"drive": drive, "broken": broken, "read": read}[what](sys.argv[1], *sys.argv[3:])

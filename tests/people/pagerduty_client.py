"""PagerDuty's own client (pagerduty, by PagerDuty) sends an alert, acknowledges it and resolves it.

usage: pagerduty_client.py URL        of the receiver that stands in for events.pagerduty.com; fails where that is not taken for PagerDuty
"""

import sys

from pagerduty import EventsApiV2Client

client = EventsApiV2Client("R0UT1NG", base_url=sys.argv[1])
key = client.trigger("A shell reads from a socket", "unit nginx.service", dedup_key="i-0f1e2d3c4b5a.1", severity="error",
                     custom_details={"told": "x"}, links=[{"href": "https://quell.example.org/", "text": "quell"}])
assert key == "i-0f1e2d3c4b5a.1", key
assert client.acknowledge(key) == key
assert client.resolve(key) == key

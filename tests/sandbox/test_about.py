"""The page at `/` names everything that is served."""

from __future__ import annotations

import json

from .conftest import Api

CONTROLS = [
    ("GET", "/_truth"),
    ("GET", "/_world"),
    ("GET", "/_faults"),
    ("GET", "/_limits"),
    ("GET", "/_requests"),
    ("POST", "/_world/change"),
    ("POST", "/_world/churn"),
    ("POST", "/_world/late"),
    ("POST", "/_faults"),
    ("POST", "/_limits"),
    ("POST", "/_oauth"),
    ("POST", "/_oauth/refresh_token"),
    ("POST", "/oauth/token"),
    ("POST", "/_world/hold"),
    ("POST", "/_world/release"),
    ("POST", "/_world/forget"),
    ("GET", "/_webhooks"),
    ("POST", "/_webhooks"),
    ("DELETE", "/_webhooks"),
    ("GET", "/webhooks"),
    ("POST", "/webhooks"),
]


def test_listed_paths_exist_and_existing_ones_are_listed(api: Api) -> None:
    about = api.get("/", key=False).json()
    for path in about["lists"]["paths"]:
        for prefix in ("", "/next", "/link"):
            assert api.get(prefix + path.format(order_id=1)).status_code == 200
    text = json.dumps(about)
    for method, path in CONTROLS:
        assert f"{method} {path}" in text
        answer = api.session.request(method, api.url + path, timeout=5)
        assert answer.status_code not in {404, 405}, (method, path)


def test_wrong_method_is_told_in_json(api: Api) -> None:
    answer = api.session.delete(f"{api.url}/orders", timeout=5)
    assert (answer.status_code, answer.json()["error"]) == (405, "method_not_allowed")


def test_fields_of_records_are_listed(api: Api) -> None:
    records = api.get("/").json()["records"]
    for stream in ("customers", "orders", "events"):
        (record,) = api.read(f"/{stream}", limit=1)["data"]
        for name in record:
            assert name in records[stream]

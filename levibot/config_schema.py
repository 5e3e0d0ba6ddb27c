"""The JSON Schema of `supervisor.toml`, for editors that complete and check it."""

from __future__ import annotations

import json

from levibot.config import Config


def schema_text() -> str:
    """The schema as it is published in ``docs/supervisor.schema.json``."""
    schema = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **Config.model_json_schema(),
        "title": "supervisor.toml",
    }
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"

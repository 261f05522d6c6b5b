"""Writes docs/SETTINGS.md from the settings' own descriptions.

.venv/bin/python docs/write_settings.py
"""

from __future__ import annotations

from pathlib import Path

from pydantic.fields import FieldInfo

from ovseg.settings import PROJECT_ROOT, Settings

DOCUMENT = PROJECT_ROOT / "docs" / "SETTINGS.md"
_HEAD = """# Settings

<!-- Made by docs/write_settings.py from ovseg/settings/; run it after a change there. -->

Every setting is a variable of the environment; most can be a file of that name in
`OVSEG_SECRETS_DIR`, too. `ovseg config` shows the values that hold where you are.

| variable | default | meaning |
|---|---|---|
"""


def render() -> str:
    """The document."""
    rows = [
        f"| `OVSEG_{name.upper()}` | {_default(field)} | {_meaning(field)} |"
        for name, field in Settings.model_fields.items()
    ]
    return _HEAD + "\n".join(rows) + "\n"


def _default(field: FieldInfo) -> str:
    if field.default_factory is not None:
        return "by the CPUs"
    if isinstance(field.default, Path) and field.default.is_relative_to(PROJECT_ROOT):
        return f"`./{field.default.relative_to(PROJECT_ROOT)}`"
    return "none" if field.default in (None, "") else f"`{field.default}`"


def _meaning(field: FieldInfo) -> str:
    return (field.description or "").replace("|", "\\|")


if __name__ == "__main__":
    DOCUMENT.write_text(render(), "utf-8")

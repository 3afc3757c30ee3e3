"""Which of Gradio's routes are open: those that its pages need, none that reads or writes files."""

from __future__ import annotations

import re

READ = re.compile(
    r"/|/config/?|/theme\.css|/favicon\.ico|/robots\.txt|/manifest\.json"
    r"|/(?:assets|static|svelte)/[\w./@+~-]+"
    r"|/gradio_api/(?:theme\.css|startup-events|app_id|queue/data|heartbeat/\w+)/?"
)
WRITTEN = re.compile(r"/gradio_api/(?:queue/join|run/predict|cancel|reset)/?")
SESSION = re.compile(r"/gradio_api/heartbeat/(\w+)/?")


def is_open(method: str, path: str) -> bool:
    """Whether a request may go to Gradio."""
    if any(part in ("..", ".") for part in path.split("/")) or "//" in path:
        return False
    pattern = READ if method in ("GET", "HEAD") else WRITTEN if method == "POST" else None
    return pattern is not None and pattern.fullmatch(path) is not None

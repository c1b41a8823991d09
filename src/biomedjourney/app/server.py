"""The server of the page: on this machine, without network, and with nothing left behind."""

import os
import signal
import socket
import sys
import tempfile
from contextlib import suppress
from pathlib import Path

import click

from biomedjourney.app import examples
from biomedjourney.app.drawing import Studio
from biomedjourney.errors import UserError

LARGEST_FILE = "500mb"


def serve(studio: Studio, host: str, port: int, log: Path) -> None:
    """Serves the page until the program is told to end. Raises UserError where the address or the model is no good."""
    listener = _listener(host, port)
    model = studio.load()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))  # an end that deletes the folder
    with suppress(KeyboardInterrupt), listener, tempfile.TemporaryDirectory(prefix="biomedjourney-app-") as temporary:
        folder = Path(temporary)
        # read when gradio is imported and when it stores an upload
        os.environ |= {"GRADIO_TEMP_DIR": temporary, "GRADIO_ANALYTICS_ENABLED": "False"}
        import fastapi
        import gradio as gr
        import uvicorn

        from biomedjourney.app.page import FONTS, STYLE, Page

        page = Page(studio, model, examples.write(folder), folder, log)
        blocks = page.blocks().queue(api_open=False)
        app = gr.mount_gradio_app(
            fastapi.FastAPI(),
            blocks,
            path="/",
            server_name=host,
            server_port=listener.getsockname()[1],
            footer_links=[],
            run_history=False,  # would keep the pictures in the browser
            max_file_size=LARGEST_FILE,
            ssr_mode=False,
            enable_monitoring=False,
            pwa=False,
            mcp_server=False,
            theme=gr.themes.Default(font=FONTS, font_mono=FONTS),
            css=STYLE,
        )
        click.echo(f"http://{_in_address(host)}:{listener.getsockname()[1]}  (Ctrl-C ends it)", err=True)
        server = uvicorn.Server(uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=1))
        server.run(sockets=[listener])


def _listener(host: str, port: int) -> socket.socket:
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family)
    except OSError as error:
        reason = error.strerror if isinstance(error, socket.gaierror) else os.strerror(error.errno or 0)
        raise UserError(f"{host}, port {port}: cannot be used ({reason}): give another --port or --host") from None


def _in_address(host: str) -> str:
    return f"[{host}]" if ":" in host else host

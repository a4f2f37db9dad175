"""`gunicorn 'atlas:create_app()'` in this folder. ATLAS_BIND: `host:port` or `unix:/path`."""

import os

bind = os.environ.get("ATLAS_BIND", "127.0.0.1:8100")
worker_class = "gthread"
workers = int(os.environ.get("ATLAS_WORKERS", "2"))
threads = 4
keepalive = 60
control_socket_disable = True
